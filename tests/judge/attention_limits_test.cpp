// Attention's bound where the first order is not enough, and where it is.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

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

}  // namespace
}  // namespace assay::judge
