// Operations on single elements and pairs.
#pragma once

#include "kernel/words.h"
#include "lang/activation.h"

namespace assay {

/// y = f(a, b) over n elements.
struct PairArgs {
  K_DEV const float* a;
  K_DEV const float* b;
  K_DEV float* y;
  uint32_t count;
  uint32_t activation;  // of gate
};
static_assert(sizeof(PairArgs) == 32, "the host and every device agree");

struct ScaleArgs {
  K_DEV const float* x;
  K_DEV const float* bias;  // (columns), or null
  K_DEV float* y;
  uint32_t count, columns;
  float factor;
  uint32_t unused;
};
static_assert(sizeof(ScaleArgs) == 40, "the host and every device agree");

struct SelectArgs {
  K_DEV const float* x;
  K_DEV const uint32_t* selected;
  K_DEV float* y;
  uint32_t columns, unused;
};
static_assert(sizeof(SelectArgs) == 32, "the host and every device agree");

struct RopeArgs {
  K_DEV const float* x;
  K_DEV const float* table;
  K_DEV float* y;
  uint32_t heads, head_dim, dimensions, adjacent;
};
static_assert(sizeof(RopeArgs) == 40, "the host and every device agree");

/// y0 = x0·cos − x1·sin, y1 = x0·sin + x1·cos, each a fma over a rounded product.
K_FN float rope_first(float x0, float x1, float c, float s) {
  return k_floor_tiny(k_fma(x0, c, -k_floor_tiny(x1 * s)));
}
K_FN float rope_second(float x0, float x1, float c, float s) {
  return k_floor_tiny(k_fma(x1, c, k_floor_tiny(x0 * s)));
}

/// Element i of a head after rotation; `table` holds cos and sin of each pair.
K_FN float rope_element(K_DEV const float* x, K_DEV const float* table, uint32_t i,
                        uint32_t dimensions, uint32_t adjacent) {
  if (i >= dimensions) return k_floor_tiny(x[i]);
  const uint32_t pairs = dimensions / 2u;
  const uint32_t pair = adjacent != 0u ? i / 2u : i % pairs;
  const bool second = adjacent != 0u ? i % 2u == 1u : i >= pairs;
  const float x0 = x[adjacent != 0u ? 2u * pair : pair];
  const float x1 = x[adjacent != 0u ? 2u * pair + 1u : pair + pairs];
  const float c = table[2u * pair], s = table[2u * pair + 1u];
  return second ? rope_second(x0, x1, c, s) : rope_first(x0, x1, c, s);
}

}  // namespace assay

/// Grid: (count / group size, 1).
K_KERNEL(add, assay::PairArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t i = t.group_x * t.group_size + t.index;
  if (i < a.count) a.y[i] = a.a[i] + a.b[i];
}

/// y = f(a)·b, f the activation. Grid: (count / group size, 1).
K_KERNEL(gate, assay::PairArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t i = t.group_x * t.group_size + t.index;
  if (i < a.count) a.y[i] = assay::gated(a.activation, a.a[i], a.b[i]);
}

/// y = x·factor (+ bias). Grid: (count / group size, 1).
K_KERNEL(scale, assay::ScaleArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t i = t.group_x * t.group_size + t.index;
  if (i >= a.count) return;
  const float product = a.x[i] * a.factor;
  a.y[i] = a.bias != nullptr ? product + a.bias[i % a.columns] : product;
}

/// y[i] = x[selected[i]]. Grid: (columns / group size, selected rows).
K_KERNEL(select_rows, assay::SelectArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t column = t.group_x * t.group_size + t.index;
  if (column < a.columns)
    a.y[uint64_t(t.group_y) * a.columns + column] =
        a.x[uint64_t(a.selected[t.group_y]) * a.columns + column];
}

/// Grid: (heads·head_dim / group size, tokens).
K_KERNEL(rope, assay::RopeArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t width = a.heads * a.head_dim;
  const uint32_t column = t.group_x * t.group_size + t.index;
  if (column >= width) return;
  const uint64_t head = uint64_t(t.group_y) * width + column / a.head_dim * a.head_dim;
  a.y[uint64_t(t.group_y) * width + column] =
      assay::rope_element(a.x + head, a.table + uint64_t(t.group_y) * a.dimensions,
                          column % a.head_dim, a.dimensions, a.adjacent);
}
