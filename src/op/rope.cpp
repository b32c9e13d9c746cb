#include "op/rope.h"

#include <algorithm>

#include "lang/math.h"
#include "op/trigonometry.h"

namespace assay::op {

namespace {

constexpr double pi = 0x1.921fb54442d18p+1;

/// The (fractional) pair whose wave turns `rotations` times over `context` positions.
double pair_of(double rotations, const RopeParameters& p) {
  return double(p.dimensions) * natural_log(double(p.original_context) / (rotations * 2.0 * pi)) /
         (2.0 * natural_log(p.base));
}

}  // namespace

double growth_at(const PositionGrowth& growth, uint32_t position) {
  const uint64_t steps = (uint64_t(position) + growth.offset) / growth.every;
  return 1.0 + growth.slope * natural_log(1.0 + double(steps));
}

RopeTable make_growth(const PositionGrowth& growth) {
  RopeTable table;
  table.dimensions = 1;
  table.growth = growth;
  return table;
}

RopeTable make_rope(const RopeParameters& p, bool adjacent) {
  RopeTable rope;
  rope.dimensions = p.dimensions;
  rope.adjacent = adjacent;
  rope.frequency.resize(p.dimensions / 2);
  rope.magnitude = p.attention_factor;
  const bool yarn = p.scaling == RopeScaling::yarn && p.factor != 1.0;
  double low = 0.0, high = 0.0;
  if (yarn) {
    const auto whole = [](double x) {
      x = std::clamp(x, -1e9, 1e9);  // a base of 1 has no such pair: ±infinity
      return double(int64_t(x)) - (x < double(int64_t(x)) ? 1.0 : 0.0);
    };
    double start = pair_of(p.beta_fast, p), end = pair_of(p.beta_slow, p);
    if (p.whole_bounds) {
      start = whole(start);
      end = -whole(-end);
    }
    low = std::max(0.0, start);
    high = std::min(double(p.dimensions) - 1.0, end);
    if (p.factor > 1.0) {
      const double growth = 0.1 * natural_log(p.factor);
      rope.magnitude *= (1.0 + growth) / (1.0 + p.log_multiplier * growth);
    }
  }
  for (uint32_t i = 0; i < p.dimensions / 2; ++i) {
    double frequency = power(p.base, -2.0 * double(i) / double(p.dimensions));
    if (!p.factors.empty()) frequency /= double(p.factors[i]);
    if (p.scaling == RopeScaling::linear) frequency /= p.factor;
    if (yarn) {
      const double ramp = (double(i) - low) / std::max(0.001, high - low);
      const double keep =
          1.0 - std::min(1.0, std::max(0.0, ramp));  // 1: extrapolate, 0: interpolate
      frequency = frequency / p.factor * (1.0 - keep) + frequency * keep;
    }
    rope.frequency[i] = frequency;
  }
  return rope;
}

void rope_row(const RopeTable& rope, uint32_t position, std::span<float> out) {
  if (rope.growth) {
    out[0] = float(growth_at(*rope.growth, position));
    return;
  }
  for (size_t i = 0; i < rope.frequency.size(); ++i) {
    const SinCos turn = sin_cos(double(position) * rope.frequency[i]);
    out[2 * i] = k_floor_tiny(float(turn.cos * rope.magnitude));
    out[2 * i + 1] = k_floor_tiny(float(turn.sin * rope.magnitude));
  }
}

}  // namespace assay::op
