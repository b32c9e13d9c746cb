// Norm, RoPE, gates, addition of one row in plain loops, in the order of docs/numbers.md, with the
// faults of rows 11, 12, 20 to 23, 31 and 32.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fault/faults.h"
#include "op/program.h"

namespace assay::fault {

using Floats = std::vector<float>;

/// Σ x, or Σ x² by fma, in 32 strided lanes, then the tree 16, 8, 4, 2, 1.
float lane_sum(std::span<const float> x, bool squared);

/// y[i] = x[i] / √(Σ x²/n + eps) · w[i], each part of n = w.size() values by itself
Floats rms_norm(std::span<const float> x, std::span<const float> w, float eps, Active fault);

/// RoPE's numbers as the engine has them.
op::RopeTable read_rope(const op::RopeTable& rope, Active fault);

/// Turns the pairs of each of `heads` heads by position·frequency.
Floats turn(std::span<const float> x, const op::RopeTable& rope, uint32_t heads, uint32_t position,
            Active fault);

/// y[i] = f(gate[i])·up[i]
Floats gated(op::Activation activation, std::span<const float> gate, std::span<const float> up,
             Active fault);

/// y[i] = residual[i] + branch[i]
Floats add(std::span<const float> residual, std::span<const float> branch, Active fault);

}  // namespace assay::fault
