// RoPE frequencies and tables against the papers' formulas, written here again in long double with
// libm.
#include "op/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace assay::op {
namespace {

using Real = long double;
constexpr Real pi = 3.14159265358979323846264338327950288L;
constexpr uint32_t positions[] = {0, 1, 5, 100, 8191, 131071};
constexpr double bases[] = {10000.0, 100000.0, 500000.0};

RopeParameters parameters(uint32_t dimensions, double base) {
  RopeParameters p;
  p.dimensions = dimensions;
  p.base = base;
  return p;
}

/// θ_i = base^(−2i/d)                                             Su et al. 2021, 3.2.2
Real theta(Real base, uint32_t i, uint32_t dimensions) {
  return std::pow(base, -2.0L * i / dimensions);
}

void expect_relative(Real got, Real want, Real limit, const std::string& what) {
  EXPECT_TRUE(std::fabs(got - want) <= limit * std::fabs(want))
      << what << ": " << double(got) << " for " << double(want);
}

/// An f64 frequency near 1 or below, through log2, a product and exp2: a few units of 2^-53 each.
constexpr Real frequency_limit = 4e-15L;

/// Table entries are rounded once to f32 (u·|value|); before, the f64 frequency is off by 4e-15 and
/// so the angle by 4e-15·angle, and sin_cos adds 1e-15 + 3e-17·angle.
void expect_table(const RopeTable& rope, uint32_t position, const std::vector<Real>& frequency,
                  Real magnitude) {
  std::vector<float> row(frequency.size() * 2);
  rope_row(rope, position, row);
  for (size_t i = 0; i < frequency.size(); ++i) {
    const Real angle = position * frequency[i];
    const Real slack = magnitude * (5e-15L * angle + 1e-15L) + 0x1p-72L;
    const Real c = std::cos(angle) * magnitude, s = std::sin(angle) * magnitude;
    EXPECT_TRUE(std::fabs(row[2 * i] - c) <= 0x1p-24L * std::fabs(c) + slack)
        << "cos, pair " << i << " at " << position;
    EXPECT_TRUE(std::fabs(row[2 * i + 1] - s) <= 0x1p-24L * std::fabs(s) + slack)
        << "sin, pair " << i << " at " << position;
  }
}

TEST(Rope, FrequenciesCosAndSinFollowTheFormulaAtKnownPositions) {
  for (double base : bases) {
    for (uint32_t dimensions : {64u, 128u}) {
      const RopeTable rope = make_rope(parameters(dimensions, base), true);
      ASSERT_EQ(rope.frequency.size(), dimensions / 2);
      EXPECT_EQ(rope.magnitude, 1.0);
      std::vector<Real> frequency;
      for (uint32_t i = 0; i < dimensions / 2; ++i) {
        frequency.push_back(theta(base, i, dimensions));
        expect_relative(rope.frequency[i], frequency[i], frequency_limit, "frequency");
      }
      for (uint32_t position : positions) expect_table(rope, position, frequency, 1);
    }
  }
}

TEST(Rope, KnownValuesOfBase10000) {
  // d = 64: θ₀ = 1, θ₁₆ = 10000^(−1/2) = 0.01, θ₈ = 0.1, θ₂₄ = 0.001
  const RopeTable rope = make_rope(parameters(64, 10000.0), true);
  EXPECT_EQ(rope.frequency[0], 1.0);
  EXPECT_NEAR(rope.frequency[8], 0.1, 1e-15);
  EXPECT_NEAR(rope.frequency[16], 0.01, 1e-16);
  EXPECT_NEAR(rope.frequency[24], 0.001, 1e-17);
  std::vector<float> row(64);
  rope_row(rope, 0, row);
  for (size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(row[2 * i], 1.0f);
    EXPECT_EQ(row[2 * i + 1], 0.0f);
  }
  rope_row(rope, 1, row);
  EXPECT_EQ(row[0], float(0.54030230586813971740));  // cos 1
  EXPECT_EQ(row[1], float(0.84147098480789650665));  // sin 1
}

TEST(Rope, LinearScalingDividesEveryFrequency) {
  RopeParameters p = parameters(64, 10000.0);
  p.scaling = RopeScaling::linear;
  p.factor = 4.0;
  const RopeTable rope = make_rope(p, true);
  std::vector<Real> frequency;
  for (uint32_t i = 0; i < 32; ++i) {
    frequency.push_back(theta(10000.0L, i, 64) / 4);
    expect_relative(rope.frequency[i], frequency[i], frequency_limit, "linear");
  }
  EXPECT_EQ(rope.magnitude, 1.0);
  for (uint32_t position : positions) expect_table(rope, position, frequency, 1);
}

TEST(Rope, FactorIsIgnoredWithoutScaling) {
  RopeParameters p = parameters(64, 10000.0);
  p.factor = 4.0;
  EXPECT_EQ(make_rope(p, true).frequency, make_rope(parameters(64, 10000.0), true).frequency);
}

/// Llama 3.1's factors by its published rule: wavelength λ = 2π/θ; λ < 8192/4 keeps, λ > 8192/1
/// divides by 8, between θ' = (1 − s)·θ/8 + s·θ, s = (8192/λ − 1)/(4 − 1).
Real llama3_frequency(Real base) {
  const Real wavelength = 2 * pi / base;
  if (wavelength < 8192.0L / 4) return base;
  if (wavelength > 8192.0L) return base / 8;
  const Real smooth = (8192.0L / wavelength - 1) / 3;
  return (1 - smooth) * base / 8 + smooth * base;
}

TEST(Rope, FactorsOfLlama3DivideTheFrequencies) {
  constexpr uint32_t dimensions = 128;
  std::vector<float> factors;
  for (uint32_t i = 0; i < dimensions / 2; ++i) {
    const Real base = theta(500000.0L, i, dimensions);
    factors.push_back(float(base / llama3_frequency(base)));
  }
  RopeParameters p = parameters(dimensions, 500000.0);
  p.factors = factors;
  const RopeTable rope = make_rope(p, true);
  std::vector<Real> frequency;
  for (uint32_t i = 0; i < dimensions / 2; ++i) {
    frequency.push_back(theta(500000.0L, i, dimensions) / factors[i]);
    expect_relative(rope.frequency[i], frequency[i], frequency_limit, "by factor");
    // against the rule itself: the file's factor is rounded to f32, 2^-24
    expect_relative(rope.frequency[i], llama3_frequency(theta(500000.0L, i, dimensions)),
                    0x1p-24L + 1e-14L, "llama 3");
  }
  EXPECT_EQ(factors.front(), 1.0f);
  EXPECT_EQ(factors.back(), 8.0f);
  for (uint32_t position : positions) expect_table(rope, position, frequency, 1);
}

/// Peng et al. 2023: pair i turns r = L·θ_i/2π times over the original context L. r >= β_fast keeps
/// its frequency, r <= β_slow has it divided by s. Between, as the paper's code and the files'
/// makers have it, a straight line over i from ⌊pair of β_fast⌋ to ⌈pair of β_slow⌉, pair of r =
/// d·ln(L/(2πr))/(2·ln base).
Real yarn_frequency(const RopeParameters& p, uint32_t i) {
  const auto pair_of = [&](Real turns) {
    return p.dimensions * std::log(p.original_context / (2 * pi * turns)) /
           (2 * std::log(Real(p.base)));
  };
  const Real low = std::max(0.0L, std::floor(pair_of(p.beta_fast)));
  const Real high = std::min(Real(p.dimensions) - 1, std::ceil(pair_of(p.beta_slow)));
  const Real ramp = std::min(1.0L, std::max(0.0L, (i - low) / std::max(0.001L, high - low)));
  const Real base = theta(p.base, i, p.dimensions);
  return base * (1 - ramp) + base / p.factor * ramp;
}

TEST(Rope, YarnBlendsFrequenciesAndScalesTheMagnitude) {
  for (double base : bases) {
    for (double factor : {2.0, 4.0, 32.0}) {
      RopeParameters p = parameters(128, base);
      p.scaling = RopeScaling::yarn;
      p.factor = factor;
      p.original_context = 4096;
      const RopeTable rope = make_rope(p, true);
      const Real magnitude = 1 + 0.1L * std::log(Real(factor));  // the paper's √(1/t)
      expect_relative(rope.magnitude, magnitude, 1e-14L, "magnitude");
      std::vector<Real> frequency;
      int kept = 0, divided = 0;
      for (uint32_t i = 0; i < 64; ++i) {
        frequency.push_back(yarn_frequency(p, i));
        expect_relative(rope.frequency[i], frequency[i], 2 * frequency_limit, "yarn");
        const Real plain = theta(base, i, 128), turns = 4096 * plain / (2 * pi);
        if (turns >= 32) expect_relative(rope.frequency[i], plain, frequency_limit, "kept"), ++kept;
        if (turns <= 1)
          expect_relative(rope.frequency[i], plain / factor, frequency_limit, "divided"), ++divided;
      }
      EXPECT_GT(kept, 10);
      EXPECT_GT(divided, 10);
      for (uint32_t position : positions) expect_table(rope, position, frequency, magnitude);
    }
  }
}

TEST(Rope, YarnTakesTheFilesAttentionFactorAndBetas) {
  RopeParameters p = parameters(64, 10000.0);
  p.scaling = RopeScaling::yarn;
  p.factor = 8.0;
  p.original_context = 2048;
  p.attention_factor = 0.5;
  p.beta_fast = 16.0;
  p.beta_slow = 2.0;
  const RopeTable rope = make_rope(p, false);
  expect_relative(rope.magnitude, 0.5L * (1 + 0.1L * std::log(8.0L)), 1e-14L, "magnitude");
  for (uint32_t i = 0; i < 32; ++i)
    expect_relative(rope.frequency[i], yarn_frequency(p, i), 2 * frequency_limit, "yarn");
  EXPECT_FALSE(rope.adjacent);
}

// ln base is in the denominator of the ramp's ends: 0 for a base of 1, negative below.
TEST(Rope, YarnOfABaseOfOneOrLess) {
  for (const double base : {1.0, 0.5, 1e-30, 1e30}) {
    RopeParameters p = parameters(64, base);
    p.scaling = RopeScaling::yarn;
    p.factor = 4.0;
    p.original_context = 2048;
    const RopeTable rope = make_rope(p, true);
    for (uint32_t i = 0; i < 32; ++i)
      expect_relative(rope.frequency[i], base == 1.0 ? 1.0L : yarn_frequency(p, i), 1e-9L, "yarn");
  }
}

TEST(Rope, YarnOfFactorOneChangesNothing) {
  RopeParameters p = parameters(64, 10000.0);
  p.scaling = RopeScaling::yarn;
  p.original_context = 2048;
  const RopeTable rope = make_rope(p, true);
  EXPECT_EQ(rope.magnitude, 1.0);
  EXPECT_EQ(rope.frequency, make_rope(parameters(64, 10000.0), true).frequency);
}

TEST(PositionGrowth, GrowsWithTheLogarithmOfWholeSteps) {
  const PositionGrowth growth{0.1, 8192, 1};
  EXPECT_EQ(growth_at(growth, 0), 1.0);
  EXPECT_EQ(growth_at(growth, 8190), 1.0);
  EXPECT_NEAR(growth_at(growth, 8191), 1.0 + 0.1 * std::log(2.0), 1e-15);
  EXPECT_NEAR(growth_at(growth, 8192 * 9 - 1), 1.0 + 0.1 * std::log(10.0), 1e-15);
  const RopeTable table = make_growth(growth);
  EXPECT_EQ(table.dimensions, 1u);
  float factor = 0;
  rope_row(table, 8191, {&factor, 1});
  EXPECT_EQ(factor, float(growth_at(growth, 8191)));
}

}  // namespace
}  // namespace assay::op
