// Norms, RoPE, activations, factors, addition of one row in plain loops, in the order of docs/numbers.md, with the
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

/// A norm's parameters: `bias` is none or as the weight; the mean is taken away where `centred`.
struct Norm {
  float eps = 0;
  uint32_t parts = 1;
  bool centred = false;
  std::span<const float> weight, bias = {};
};

/// y[i] = (x[i] − m) / √(Σ (x − m)²/n + eps) · w[i] (+ b[i]), each of `parts` parts by itself; m is 0
/// where the norm is not centred
Floats normed(std::span<const float> x, const Norm& norm, Active fault);

/// RoPE's numbers as the engine has them.
op::RopeTable read_rope(const op::RopeTable& rope, Active fault);

/// Turns the pairs of each of `heads` heads by position·frequency.
Floats turn(std::span<const float> x, const op::RopeTable& rope, uint32_t heads, uint32_t position,
            Active fault);

/// y[i] = f(gate[i / r])·up[i]
Floats gated(op::Activation activation, std::span<const float> gate, std::span<const float> up,
             Active fault);

/// y[i] = f(x[i]) of an activation, xielu, a cap, limits, a factor
Floats activated(op::Activation activation, std::span<const float> x, Active fault);
Floats xielu_of(const op::Xielu& p, std::span<const float> x, Active fault);
Floats capped(const op::SoftCap& p, std::span<const float> x, Active fault);
Floats clamped(const op::Clamp& p, std::span<const float> x, Active fault);
Floats position_scaled(std::span<const float> x, const op::RopeTable& table, uint32_t position,
                       Active fault);
/// y[i] = x[i]·factor (+ b[i])
Floats scaled(std::span<const float> x, float factor, std::span<const float> b, Active fault);
/// Values first … first + width − 1 of each part.
Floats sliced(const op::Slice& p, std::span<const float> x);

/// What happens to a result of `rows` rows after it was computed right: row 35.
void spoil(Floats& y, size_t rows, Active fault);

/// y[i] = residual[i] + branch[i]
Floats add(std::span<const float> residual, std::span<const float> branch, Active fault);

}  // namespace assay::fault
