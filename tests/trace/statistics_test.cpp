#include "trace/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace assay::trace {
namespace {

const float nan_value = std::numeric_limits<float>::quiet_NaN();

// 3, −4: rms √(25/2), mean −1/2
TEST(Statistics, HandExampleLeavesNanOut) {
  const std::vector<float> values = {3, nan_value, -4};
  const Statistics s = statistics(values);
  EXPECT_DOUBLE_EQ(s.rms, std::sqrt(12.5));
  EXPECT_DOUBLE_EQ(s.mean, -0.5);
  EXPECT_EQ(s.min, -4);
  EXPECT_EQ(s.max, 3);
  EXPECT_EQ(s.max_abs, 4);
  EXPECT_EQ(s.nan, 1u);
  EXPECT_EQ(s.count, 2u);
}

TEST(Statistics, EveryValueCountsAndInfinitiesAreCounted) {
  std::vector<float> values;
  double sum = 0, squares = 0;
  for (int i = 0; i < 21; ++i) {
    values.push_back(i == 19 ? nan_value : float(i * i - 50));
    if (i != 19) sum += i * i - 50, squares += (i * i - 50) * (i * i - 50);
  }
  const Statistics s = statistics(values);
  EXPECT_DOUBLE_EQ(s.mean, sum / 20);
  EXPECT_DOUBLE_EQ(s.rms, std::sqrt(squares / 20));
  EXPECT_EQ(s.max, 350);
  EXPECT_EQ(s.min, -50);
  EXPECT_EQ(s.nan, 1u);
  EXPECT_EQ(s.count, 20u);
  values[9] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(statistics(values).infinite, 1u);
  EXPECT_TRUE(std::isinf(statistics(values).max_abs));
}

TEST(Statistics, OfNothingButNanIsNanAndNotZero) {
  const std::vector<float> values = {nan_value};
  EXPECT_TRUE(std::isnan(statistics(values).rms));
  EXPECT_TRUE(std::isnan(statistics(values).max));
}

TEST(Statistics, TopIsBestFirstTiesToTheLowerIdNanNever) {
  const std::vector<float> logits = {1, 7, nan_value, 7, 5};
  const auto best = top(logits, 3);
  ASSERT_EQ(best.size(), 3u);
  EXPECT_EQ(best[0].id, 1);
  EXPECT_EQ(best[1].id, 3);
  EXPECT_EQ(best[2].id, 4);
  EXPECT_EQ(top(logits, 100).size(), 4u);
}

// SHA-256 of the bytes 00 00 80 3f (1.0f) and 00 00 c0 7f (the NaN that stands for all)
TEST(Statistics, HashWritesEveryNanAlike) {
  const auto hash = [](float second) {
    LogitsHash logits;
    const std::vector<float> values = {1.0f, second};
    logits.update(values);
    return logits.hex();
  };
  const std::vector<uint8_t> bytes = {0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0xc0, 0x7f};
  EXPECT_EQ(hash(nan_value), sha256_hex(bytes));
  EXPECT_EQ(hash(-nan_value), sha256_hex(bytes));
  EXPECT_EQ(hash(std::nanf("12345")), sha256_hex(bytes));
}

}  // namespace
}  // namespace assay::trace
