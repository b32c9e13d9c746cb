#include "op/best.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "../cpu/data.h"

namespace assay::op {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

std::vector<int32_t> ids(const std::vector<Candidate>& list) {
  std::vector<int32_t> all;
  for (const Candidate& one : list) all.push_back(one.id);
  return all;
}

TEST(BestOf, IsTheSortsBeginning) {
  tests::Random random(7);
  std::vector<float> logits(3001);
  for (float& logit : logits) logit = std::floor(40 * random.uniform());  // many are equal
  std::vector<int32_t> sorted(logits.size());
  std::iota(sorted.begin(), sorted.end(), 0);
  std::ranges::stable_sort(
      sorted, [&](int32_t a, int32_t b) { return logits[size_t(a)] > logits[size_t(b)]; });
  for (const uint32_t most : {1u, 2u, 40u, 3001u, 9000u}) {
    const auto best = best_of(logits, most);
    const std::vector<int32_t> want(sorted.begin(),
                                    sorted.begin() + std::min<ptrdiff_t>(most, 3001));
    EXPECT_EQ(ids(best), want) << most;
    for (const Candidate& one : best) EXPECT_EQ(one.logit, logits[size_t(one.id)]);
  }
  EXPECT_EQ(ids(best_of(logits, 0)), sorted);
}

TEST(BestOf, NeverChoosesNaNOrMinusInfinity) {
  const std::vector<float> logits = {0.0f, -0.0f, std::nanf(""), 1.0f, inf, -inf, 1.0f};
  EXPECT_EQ(ids(best_of(logits, 0)), (std::vector<int32_t>{4, 3, 6, 0, 1}));
  EXPECT_EQ(ids(best_of(logits, 4)), (std::vector<int32_t>{4, 3, 6, 0}));
  EXPECT_TRUE(best_of(std::vector<float>{-inf, std::nanf("")}, 1).empty());
  EXPECT_TRUE(best_of({}, 0).empty());
}

}  // namespace
}  // namespace assay::op
