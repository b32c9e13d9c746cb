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
  uint32_t count, unused;
};
static_assert(sizeof(PairArgs) == 32, "the host and every device agree");

struct GateArgs {
  K_DEV const float* gate;  // (count / covers)
  K_DEV const float* up;
  K_DEV float* y;
  uint32_t count;
  uint32_t activation;
  uint32_t covers;  // neighbouring values of `up` that a gate covers
  uint32_t unused;
};
static_assert(sizeof(GateArgs) == 40, "the host and every device agree");

/// y = f(x) over n elements.
struct MapArgs {
  K_DEV const float* x;
  K_DEV float* y;
  uint32_t count;
  uint32_t activation;  // of activate
  float numbers[4];     // xielu: alpha_p, alpha_n, beta, eps; soft_cap: cap; clamp: low, high
};
static_assert(sizeof(MapArgs) == 40, "the host and every device agree");

struct PositionScaleArgs {
  K_DEV const float* x;
  K_DEV const float* factor;  // (tokens)
  K_DEV float* y;
  uint32_t columns, unused;
};
static_assert(sizeof(PositionScaleArgs) == 32, "the host and every device agree");

struct SliceArgs {
  K_DEV const float* x;  // (rows, columns / width·part)
  K_DEV float* y;        // (rows, columns)
  uint32_t columns;
  uint32_t first, width;  // of a part, what is copied
  uint32_t part;          // values
};
static_assert(sizeof(SliceArgs) == 32, "the host and every device agree");

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

/// y = f(gate)·up, f the activation. Grid: (count / group size, 1).
K_KERNEL(gate, assay::GateArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t i = t.group_x * t.group_size + t.index;
  if (i < a.count)
    a.y[i] = assay::gated(a.activation, a.gate[a.covers == 1u ? i : i / a.covers], a.up[i]);
}

// Grid: (count / group size, 1).
K_KERNEL(activate, assay::MapArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t i = t.group_x * t.group_size + t.index;
  if (i < a.count)
    a.y[i] = assay::k_floor_tiny(assay::activate<assay::OneLane>(a.activation, a.x[i]));
}
K_KERNEL(xielu, assay::MapArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t i = t.group_x * t.group_size + t.index;
  if (i < a.count)
    a.y[i] = assay::k_floor_tiny(assay::xielu<assay::OneLane>(a.x[i], a.numbers[0], a.numbers[1],
                                                              a.numbers[2], a.numbers[3]));
}
K_KERNEL(soft_cap, assay::MapArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t i = t.group_x * t.group_size + t.index;
  if (i < a.count)
    a.y[i] = assay::k_floor_tiny(assay::soft_cap<assay::OneLane>(a.x[i], a.numbers[0]));
}
/// Not below `low`, not above `high`; NaN passes.
K_KERNEL(clamp_between, assay::MapArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t i = t.group_x * t.group_size + t.index;
  if (i >= a.count) return;
  const float x = a.x[i], low = a.numbers[0], high = a.numbers[1];
  a.y[i] = x < low ? low : (x > high ? high : x);
}

/// y = x·factor of the token's position. Grid: (columns / group size, tokens).
K_KERNEL(position_scale, assay::PositionScaleArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t column = t.group_x * t.group_size + t.index;
  const uint64_t i = uint64_t(t.group_y) * a.columns + column;
  if (column < a.columns) a.y[i] = assay::k_floor_tiny(a.x[i] * a.factor[t.group_y]);
}

/// Of each part of a row, `width` values from `first` on. Grid: (columns / group size, rows).
K_KERNEL(slice, assay::SliceArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t column = t.group_x * t.group_size + t.index;
  if (column >= a.columns) return;
  const uint32_t parts = a.columns / a.width;
  const uint32_t from = column / a.width * a.part + a.first + column % a.width;
  a.y[uint64_t(t.group_y) * a.columns + column] = a.x[uint64_t(t.group_y) * parts * a.part + from];
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
