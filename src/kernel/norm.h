// RMSNorm:    y[i] = (x[i]·r)·w[i],  r = 1/√(Σ x²/n + eps), NaN where Σ x² is beyond f32
// LayerNorm:  y[i] = (d[i]·r)·w[i] (+ b[i]),  d = x − Σ x/n,  r the same of d
#pragma once

#include "kernel/words.h"

namespace assay {

struct RmsNormArgs {
  K_DEV const float* x;
  K_DEV const float* weight;
  K_DEV float* y;       // null: only the quantised form is wanted
  Quantised quantised;  // codes null: only y is wanted
  uint32_t columns;
  float eps;
  uint32_t stride;
  uint32_t weight_rows;  // that rows take in turn: a row's parts may have a weight each
};
static_assert(sizeof(RmsNormArgs) == 64, "the host and every device agree");

struct LayerNormArgs {
  K_DEV const float* x;
  K_DEV const float* weight;
  K_DEV const float* bias;  // as the weight, or null
  K_DEV float* y;           // null: only the quantised form is wanted
  Quantised quantised;      // codes null: only y is wanted
  uint32_t columns;
  float eps;
  uint32_t stride, weight_rows;
};
static_assert(sizeof(LayerNormArgs) == 72, "the host and every device agree");

struct QuantiseArgs {
  K_DEV const float* x;
  Quantised y;
  uint32_t blocks;  // rows·columns / 32
  uint32_t unused;
};
static_assert(sizeof(QuantiseArgs) == 40, "the host and every device agree");

/// Where row `row`'s weights begin.
K_FN uint32_t first_weight(uint32_t row, uint32_t weight_rows, uint32_t columns) {
  return weight_rows > 1u ? row % weight_rows * columns : 0u;
}

struct AddSquare {
  K_FN float of(float sum, float x, float) { return k_fma(x, x, sum); }
};
struct AddValue {
  K_FN float of(float sum, float x, float) { return sum + x; }
};
struct AddSquaredDistance {
  K_FN float of(float sum, float x, float mean) { return k_fma(x - mean, x - mean, sum); }
};

/// The sum of a row's terms, over 32 strided lanes and the xor tree: each simd of the group makes it
/// for itself, which costs less than a barrier.
template <class Add>
K_FN float row_sum(K_DEV const float* x, uint32_t columns, float mean, uint32_t lane) {
  float sum = 0.0f;
  uint32_t i = lane;
  for (; i + 31u * lanes < columns; i += 32u * lanes) {
    float part[32];  // loads that are under way together
    K_UNROLL
    for (uint32_t u = 0u; u < 32u; ++u) part[u] = x[i + u * lanes];
    K_UNROLL
    for (uint32_t u = 0u; u < 32u; ++u) sum = Add::of(sum, part[u], mean);
  }
  for (; i < columns; i += lanes) sum = Add::of(sum, x[i], mean);
  return simd_sum_ordered(sum);
}

}  // namespace assay

/// Grid: (groups, rows), `stride` threads in a row. Gives y, or its quantised form, or both; the
/// quantised form needs whole blocks of 32 columns.
K_KERNEL(rms_norm, assay::RmsNormArgs, assay::NoShared, assay::AtMost<256>) {
  K_DEV const float* x = a.x + uint64_t(t.group_y) * a.columns;
  K_DEV const float* weight = a.weight + assay::first_weight(t.group_y, a.weight_rows, a.columns);
  const float r = assay::k_inverse_rms(assay::row_sum<assay::AddSquare>(x, a.columns, 0.0f, t.lane),
                                       float(a.columns), a.eps);
  // Whole simds, so that each comes to every exchange below.
  for (uint32_t first = t.group_x * t.group_size + t.simd * assay::lanes; first < a.columns;
       first += a.stride) {
    const uint32_t i = first + t.lane;
    const float y = i < a.columns ? assay::k_floor_tiny((x[i] * r) * weight[i]) : 0.0f;
    if (a.y != nullptr && i < a.columns) a.y[uint64_t(t.group_y) * a.columns + i] = y;
    if (a.quantised.codes != nullptr)
      assay::quantise_lanes(y, a.quantised,
                            t.group_y * (a.columns / assay::quantum) + first / assay::quantum,
                            t.lane, true);
  }
}

/// Grid and outputs as rms_norm's.
K_KERNEL(layer_norm, assay::LayerNormArgs, assay::NoShared, assay::AtMost<256>) {
  K_DEV const float* x = a.x + uint64_t(t.group_y) * a.columns;
  const uint32_t from = assay::first_weight(t.group_y, a.weight_rows, a.columns);
  const float n = float(a.columns);
  const float mean = assay::k_div(assay::row_sum<assay::AddValue>(x, a.columns, 0.0f, t.lane), n);
  const float r = assay::k_inverse_rms(
      assay::row_sum<assay::AddSquaredDistance>(x, a.columns, mean, t.lane), n, a.eps);
  for (uint32_t first = t.group_x * t.group_size + t.simd * assay::lanes; first < a.columns;
       first += a.stride) {
    const uint32_t i = first + t.lane;
    float y = 0.0f;
    if (i < a.columns) {
      y = ((x[i] - mean) * r) * a.weight[from + i];
      if (a.bias != nullptr) y = y + a.bias[from + i];
    }
    y = assay::k_floor_tiny(y);
    if (a.y != nullptr && i < a.columns) a.y[uint64_t(t.group_y) * a.columns + i] = y;
    if (a.quantised.codes != nullptr)
      assay::quantise_lanes(y, a.quantised,
                            t.group_y * (a.columns / assay::quantum) + first / assay::quantum,
                            t.lane, true);
  }
}

/// Grid: (blocks of 32 / simds of a group, 1).
K_KERNEL(quantise, assay::QuantiseArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t block = t.group_x * (t.group_size / assay::lanes) + t.simd;
  const bool inside = block < a.blocks;
  const float x = inside ? a.x[uint64_t(block) * assay::quantum + t.lane] : 0.0f;
  assay::quantise_lanes(x, a.y, block, t.lane, inside);
}
