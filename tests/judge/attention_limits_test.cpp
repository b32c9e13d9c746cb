// Attention's bound where the first order is not enough, and where it is.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "judge/formulas.h"

namespace assay::judge {
namespace {

/// What y may be off by, for keys of one lane with values 0 and 1.
double allowed(double query, double first_key, double second_key) {
  const op::AttentionShape attention{1, 1, 1, 1, 1.0f};
  judge::Cache cache;
  cache.store(0, std::vector{first_key}, std::vector{0.0});
  cache.store(1, std::vector{second_key}, std::vector{1.0});
  const judge::Attended head = judge::attend(std::vector{query}, cache, 1, 0, attention);
  const Limit limit = attention_limits(head, cache, 0, attention)[0];
  return limit.limit_u * unit * limit.scale;
}

// Scores of 1e8 have an ulp of 8: computed in f32 either of two keys 4 apart can win by any factor,
// so y may be anything from 0 to 1 where the truth is 0.98 or 0.02.
TEST(AttentionLimits, LeaveOpenWhichOfTwoHugeScoresWins) {
  EXPECT_GE(allowed(1e4, 10000.0004, 10000.0), 0.98);
  EXPECT_GE(allowed(1e4, 10000.0, 10000.0004), 0.98);
}

// Two equal scores of 1: y = 1/2, and its error a few u.
TEST(AttentionLimits, AreSharpForOrdinaryScores) {
  EXPECT_LE(allowed(1, 1, 1), 30 * unit);
  EXPECT_GT(allowed(1, 1, 1), unit);
}

// Scores of 2^22 are off by 1/2 each: a key 4 below the other may be only 3 below, and then y is
// 1/(1 + e^3) where 1/(1 + e^4) is the truth.
TEST(AttentionLimits, LetAWeightGrowByItsScoresError) {
  EXPECT_GE(allowed(1, 0x1p22, 0x1p22 - 4), 1 / (1 + std::exp(3.0)) - 1 / (1 + std::exp(4.0)));
}

// A key 60 below has a weight of e^-60 or 0: nothing to be wrong about, whatever its value.
TEST(AttentionLimits, KeepFarKeysOut) {
  EXPECT_LE(allowed(1, 0, -60), 1e-20);
}

/// What y may be off by with all keys' scores 0 but the query's own, for a change of shape.
double allowed_with(const op::AttentionShape& shape, std::optional<double> sink = {}) {
  judge::Cache cache;
  for (uint32_t p = 0; p < 200; ++p) cache.store(p, std::vector{0.0}, std::vector{double(p % 2)});
  const judge::Attended head = judge::attend(std::vector{1.0}, cache, 199, 0, shape, sink);
  const Limit limit = attention_limits(head, cache, 0, shape)[0];
  return limit.limit_u * unit * limit.scale;
}

// 200 keys are four chunks, a window of 10 lies in one of them: fewer roundings.
TEST(AttentionLimits, OfAWindowAreThoseOfItsKeys) {
  op::AttentionShape shape{1, 1, 1, 1, 1.0f};
  const double all = allowed_with(shape);
  shape.window = 5;  // positions 195 … 199
  EXPECT_LT(allowed_with(shape), all);
  EXPECT_GT(allowed_with(shape), unit);
  shape.window = 10;  // 190 … 199: two chunks
  EXPECT_LT(allowed_with(shape), all);
}

// A soft cap of c adds 4 u of c to each score, ALiBi 4 u of what it takes away.
TEST(AttentionLimits, GrowWithSoftCapAndAlibi) {
  op::AttentionShape shape{1, 1, 1, 1, 1.0f};
  const double plain = allowed_with(shape);
  shape.soft_cap = 100;
  const double capped = allowed_with(shape);
  // half the weight is on values 1/2 away: 400 u · 1/2, twice for the numerator's and all weights'
  EXPECT_GT(capped, plain + 100 * unit);
  EXPECT_LT(capped, plain + 1000 * unit);
  shape.soft_cap = 0;
  shape.alibi = 8;  // a slope of 2^-8: 199 positions take at most 0.78
  EXPECT_GT(allowed_with(shape), plain);
  EXPECT_LT(allowed_with(shape), plain + 20 * unit);
}

// A sink takes weight and has no error of a dot product; one far above leaves y near 0 and little
// to be off by.
TEST(AttentionLimits, ASinkAddsAKeyWithoutAValue) {
  const op::AttentionShape shape{1, 1, 1, 1, 1.0f};
  const double plain = allowed_with(shape);
  EXPECT_LT(allowed_with(shape, 0.0), 2 * plain);
  EXPECT_GT(allowed_with(shape, 0.0), unit);
  EXPECT_LT(allowed_with(shape, 60.0), plain * 1e-6);
}

}  // namespace
}  // namespace assay::judge
