#include "op/rope.h"

#include <algorithm>

#include "lang/math.h"
#include "op/trigonometry.h"

namespace assay::op {

namespace {

constexpr double ln2 = 0x1.62e42fefa39efp-1;
constexpr double pi = 0x1.921fb54442d18p+1;

double natural_log(double x) {
  // ln x by Newton on e^y = x from our own `power`, so that no libm is asked; x is within 1e-30 …
  // 1e30 here.
  double y = 0.0;
  for (double rest = x; rest >= 2.0; rest *= 0.5) y += ln2;
  for (double rest = x; rest <= 0.5; rest *= 2.0) y -= ln2;
  constexpr double e = 0x1.5bf0a8b145769p+1;
  for (int i = 0; i < 40; ++i) {
    const double value = power(e, y);
    y += 2.0 * (x - value) / (x + value);  // Halley: cubic convergence; 40 is far more than enough
  }
  return y;
}

/// The (fractional) pair whose wave turns `rotations` times over `context` positions.
double pair_of(double rotations, const RopeParameters& p) {
  return double(p.dimensions) * natural_log(double(p.original_context) / (rotations * 2.0 * pi)) /
         (2.0 * natural_log(p.base));
}

}  // namespace

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
    const double start = whole(pair_of(p.beta_fast, p));
    const double end = -whole(-pair_of(p.beta_slow, p));
    low = std::max(0.0, start);
    high = std::min(double(p.dimensions) - 1.0, end);
    if (p.factor > 1.0) rope.magnitude *= 1.0 + 0.1 * natural_log(p.factor);
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
  for (size_t i = 0; i < rope.frequency.size(); ++i) {
    const SinCos turn = sin_cos(double(position) * rope.frequency[i]);
    out[2 * i] = k_floor_tiny(float(turn.cos * rope.magnitude));
    out[2 * i + 1] = k_floor_tiny(float(turn.sin * rope.magnitude));
  }
}

}  // namespace assay::op
