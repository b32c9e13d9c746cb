// Rotary position embedding: frequencies from a model's numbers, and the table of cos and sin for a
// step.
//   angle(p, i) = p·frequency[i];  y₀ = (x₀·cos − x₁·sin)·magnitude,  y₁ = (x₀·sin +
//   x₁·cos)·magnitude
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "op/program.h"

namespace assay::op {

enum class RopeScaling { unscaled, linear, yarn };

/// What a file says of RoPE.
struct RopeParameters {
  uint32_t dimensions = 0;
  double base = 10000.0;
  RopeScaling scaling = RopeScaling::unscaled;
  double factor = 1.0;                       ///< context grows by this; 1: not at all
  uint32_t original_context = 0;             ///< yarn: positions before the growth
  double beta_fast = 32.0, beta_slow = 1.0;  ///< yarn: rotations that bound the ramp
  bool whole_bounds = true;                  ///< yarn: the ramp begins and ends at whole pairs
  double log_multiplier = 0.0;               ///< yarn: takes part of the magnitude back; 0: none
  double attention_factor = 1.0;             ///< multiplies the magnitude
  std::span<const float> factors;            ///< divides frequency i by factors[i]; empty: none
};

/// frequency[i] = base^(−2i/d), divided by factors[i]; linear: divided by `factor`; yarn: between
/// the two by the ramp over i, and where factor > 1 the magnitude grows by 1 + 0.1·ln factor, over
/// 1 + 0.1·log_multiplier·ln factor.
/// Source: Su et al. 2021 (RoPE), Peng et al. 2023 (YaRN).
RopeTable make_rope(const RopeParameters& parameters, bool adjacent);

/// 1 + slope·ln(1 + ⌊(position + offset) / every⌋), and the table that position_scale reads.
double growth_at(const PositionGrowth& growth, uint32_t position);
RopeTable make_growth(const PositionGrowth& growth);

/// cos and sin times magnitude for position p, rounded once to f32: out[2i] = cos, out[2i+1] = sin,
/// |·| < 2^-72 as +0. Of a table of growth: the factor.
void rope_row(const RopeTable& rope, uint32_t position, std::span<float> out);

}  // namespace assay::op
