// Faulty twins of kernels, in the words of the kernel language: what a kernel could have wrong that
// no argument of a launch can make so. In builds with ASSAY_FAULTS alone; not for Metal.
#pragma once

#include "kernel/elementwise.h"
#include "kernel/matmul.h"
#include "kernel/norm.h"
#include "lang/lang_entries.h"

namespace assay {

struct RacingShared {
  float sums[32];  // (simds)
};

/// e^x without the low part of ln 2 in its range reduction, as a compiler that may reorder sums
/// leaves it: off by n·1.4e-6, n = rint(x·log2 e). Right for |x| < 0.34.
K_FN float exp_short(float x) {
  const float n = k_fma(x, k_exp_log2_e, k_exp_round) - k_exp_round;
  const float y = k_exp(x);
  return k_fma(y, n * k_exp_ln2_low, y);
}

}  // namespace assay

/// rms_norm with its sum shared by the group's simds, and no barrier before it is read: each reads
/// the others' parts as soon as it has its own, the last ones' first. Every simd has columns of a
/// short row, too.
K_KERNEL(rms_norm_racing, assay::RmsNormArgs, assay::RacingShared, assay::AtMost<1024>) {
  K_DEV const float* x = a.x + uint64_t(t.group_y) * a.columns;
  const uint32_t simds = t.group_size / assay::lanes;
  if (t.lane == 0u) s.sums[t.simd] = 0.0f;
  assay::barrier_group();
  float part = 0.0f;
  for (uint32_t i = t.lane * simds + t.simd; i < a.columns; i += t.group_size)
    part = assay::k_fma(x[i], x[i], part);
  part = assay::simd_sum_ordered(part);
  if (t.lane == 0u) s.sums[t.simd] = part;
  float sum = 0.0f;  // the barrier that is missing belongs before this line
  for (uint32_t i = simds; i-- > 0u;) sum = sum + s.sums[i];
  const float mean = assay::k_div(sum, float(a.columns));
  const float r = assay::k_div(1.0f, assay::k_sqrt(mean + a.eps));
  for (uint32_t first = t.simd * assay::lanes; first < a.columns; first += t.group_size) {
    const uint32_t i = first + t.lane;
    const float y = i < a.columns ? assay::k_floor_tiny((x[i] * r) * a.weight[i]) : 0.0f;
    if (a.y != nullptr && i < a.columns) a.y[uint64_t(t.group_y) * a.columns + i] = y;
    if (a.quantised.codes != nullptr)
      assay::quantise_lanes(y, a.quantised,
                            t.group_y * (a.columns / assay::quantum) + first / assay::quantum,
                            t.lane, true);
  }
}

/// gate of silu with exp_short. Grid: as gate's.
K_KERNEL(gate_fast_math, assay::GateArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t i = t.group_x * t.group_size + t.index;
  if (i >= a.count) return;
  const float gate = a.gate[i];
  a.y[i] = assay::k_floor_tiny(assay::k_div(gate, 1.0f + assay::exp_short(-gate)) * a.up[i]);
}

/// The last 32 columns of a product's activations become zeros: run before a matmul, it loses what
/// that would have made of them. Grid: (1, tokens).
K_KERNEL(lose_last_block, assay::MatmulArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t blocks = a.columns / assay::quantum;
  if (t.index == 0u) a.x.scale[t.group_y * blocks + blocks - 1u] = 0.0f;
}
