// The judge itself, against examples worked by hand and formulas written a second time.
#include "judge/formulas.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "quant/formats.h"

namespace assay::judge {
namespace {

using Values = std::vector<double>;
const double nan = std::numeric_limits<double>::quiet_NaN();
const double infinity = std::numeric_limits<double>::infinity();

/// Values within a few roundings of f64; NaN fails.
void expect_near(const Values& got, const Values& want, double relative = 1e-14) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_TRUE(std::fabs(got[i] - want[i]) <= relative * std::fabs(want[i]) + 1e-300)
        << i << ": " << got[i] << " for " << want[i];
}

std::vector<uint8_t> f32_bytes(const std::vector<float>& values) {
  std::vector<uint8_t> bytes(values.size() * 4);
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

Table table(std::vector<Values> rows) {
  Table made(rows.size(), rows[0].size());
  for (size_t r = 0; r < rows.size(); ++r)
    std::copy(rows[r].begin(), rows[r].end(), made.row(r).begin());
  return made;
}

TEST(RmsNorm, HandExamples) {
  // mean of 9 and 16 is 12.5: y = 3/√12.5·1, 4/√12.5·2
  expect_near(rms_norm(Values{3, 4}, Values{1, 2}, 0.0),
              {3 / std::sqrt(12.5), 8 / std::sqrt(12.5)});
  // eps stands inside the root: 1/√(1 + 3) = 1/2
  expect_near(rms_norm(Values{1, -1, 1}, Values{1, 1, -4}, 3.0), {0.5, -0.5, -2});
}

TEST(RmsNorm, NanReachesEveryElement) {
  for (double y : rms_norm(Values{1, nan, 1}, Values{1, 1, 1}, 1e-5)) EXPECT_TRUE(std::isnan(y));
}

TEST(Quantise, HandExampleWithTiesToEven) {
  // m = 127: d = 1, the codes are the values rounded, halves to even
  Values x(32, 0.0), want(32, 0.0);
  const Values in = {127, -63.5, 0.5, 1.5, 2.5, -2.5, 0.4, -126.6},
               out = {127, -64, 0, 2, 2, -2, 0, -127};
  std::copy(in.begin(), in.end(), x.begin());
  std::copy(out.begin(), out.end(), want.begin());
  EXPECT_EQ(quantise(x), want);
}

TEST(Quantise, EachThirtyTwoHaveTheirOwnScaleAndTheLastMayBeShort) {
  Values x(70, 1.0);
  x[32] = 254.0;  // group 1: d = 2; 1.0·(127/254) = 0.5 → code 0
  x[64] = 0.0;    // group 2: six values
  const Values y = quantise(x);
  const float d = 1.0f / 127.0f;
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(y[i], double(d) * 127);
  EXPECT_EQ(y[32], 254.0);
  for (size_t i = 33; i < 64; ++i) EXPECT_EQ(y[i], 0.0);
  EXPECT_EQ(y[64], 0.0);
  for (size_t i = 65; i < 70; ++i) EXPECT_EQ(y[i], double(d) * 127);
}

TEST(Quantise, TinyGroupsBecomeZeroFrom2ToTheMinus72Down) {
  const Values below = quantise(Values(32, std::nextafter(0x1p-72f, 0.0f)));
  for (double y : below) EXPECT_EQ(y, 0.0);
  const Values at = quantise(Values(32, 0x1p-72));
  for (double y : at) EXPECT_EQ(y, 127 * double(0x1p-72f / 127.0f));
}

TEST(Quantise, NanOrInfinityMakesItsGroupNanAndNoOther) {
  for (double bad : {nan, infinity, -infinity, 1e39}) {  // 1e39 is infinite in f32
    Values x(64, 1.0);
    x[40] = bad;
    const Values y = quantise(x);
    for (size_t i = 0; i < 32; ++i) EXPECT_TRUE(y[i] > 0.99);
    for (size_t i = 32; i < 64; ++i) EXPECT_TRUE(std::isnan(y[i]));
  }
}

TEST(Quantise, CodesAreMadeInF32) {
  // Rounding x·RN(127/m) twice in f32 parts from the same in f64 for some x next to a half; the
  // contract says f32.
  std::mt19937 random(3);
  int apart = 0;
  for (int round = 0; round < 20000; ++round) {
    // values at the halves between codes, where the two can part; the first is the greatest
    const float m = float(1 + random() % 1000000) * 0x1p-16f;
    Values x(32, double(m));
    for (size_t i = 1; i < 32; ++i)
      x[i] = double(float((double(random() % 252) - 126 + 0.5) * double(m) / 127.0));
    const Values y = quantise(x);
    for (size_t i = 0; i < 32; ++i) {
      const float in_f32 = std::nearbyint(float(x[i]) * (127.0f / m));
      const double in_f64 = std::nearbyint(x[i] * 127.0 / double(m));
      apart += double(in_f32) != in_f64;
      ASSERT_EQ(y[i], double(m / 127.0f) * double(in_f32));
    }
  }
  EXPECT_GT(apart, 100);
}

TEST(Matmul, HandExampleWithBiasAndMagnitude) {
  const std::vector<uint8_t> w = f32_bytes({1, -2, 3, 0, 4, -1}), b = f32_bytes({10, -20});
  const op::Weight weight{"w", 0, 2, 3, w}, bias{"b", 0, 1, 2, b};
  const Table x = table({{1, 1, 1}, {2, 0, -1}}), ones = table({{1, 1, 1}});
  EXPECT_EQ(matmul(weight, nullptr, x).data, (Values{2, 3, -1, 1}));
  EXPECT_EQ(matmul(weight, &bias, ones).data, (Values{12, -17}));
  for (Terms terms : {Terms::weights, Terms::parts}) {  // the same for a format without a minimum
    EXPECT_EQ(matmul_magnitude(weight, nullptr, x, terms).data, (Values{6, 5, 5, 1}));
    EXPECT_EQ(matmul_magnitude(weight, &bias, ones, terms).data, (Values{16, 25}));
  }
}

TEST(Matmul, EveryNumberOfTokensGivesEachTokenItsOwnRow) {
  std::vector<float> values(3 * 7);
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(i % 5) - 1.5f;
  const std::vector<uint8_t> w = f32_bytes(values);
  for (uint64_t tokens : {1, 2, 3, 4, 5, 8, 9}) {
    Table x(tokens, 7);
    for (size_t i = 0; i < x.data.size(); ++i) x.data[i] = double(i % 11) - 4;
    const Table y = matmul({"w", 0, 3, 7, w}, nullptr, x);
    for (uint64_t t = 0; t < tokens; ++t)
      for (size_t r = 0; r < 3; ++r) {
        double want = 0;  // small halves: exact in any order
        for (size_t c = 0; c < 7; ++c) want += double(values[r * 7 + c]) * x.row(t)[c];
        EXPECT_EQ(y.row(t)[r], want);
      }
  }
}

/// Q8_0 rows of 32: d = 0.5 (f16 0x3800), codes i − 16 + row.
std::vector<uint8_t> q8_rows(size_t rows) {
  std::vector<uint8_t> bytes;
  for (size_t r = 0; r < rows; ++r) {
    bytes.push_back(0x00), bytes.push_back(0x38);
    for (int i = 0; i < 32; ++i) bytes.push_back(uint8_t(int8_t(i - 16 + int(r))));
  }
  return bytes;
}

TEST(Matmul, BlocksAreDecodedByTheirFormat) {
  const std::vector<uint8_t> w = q8_rows(2);
  const op::Weight weight{"w", 8, 2, 32, w};
  const Table ones = table({Values(32, 1.0)});
  // Σ (i − 16) = 496 − 512 = −16, times 0.5; row 1 adds 32·0.5. |·|: (136 + 120)/2 and Σ|i − 15|/2
  // = (120 + 136)/2
  EXPECT_EQ(matmul(weight, nullptr, ones).data, (Values{-8, 8}));
  EXPECT_EQ(matmul_magnitude(weight, nullptr, ones, Terms::weights).data, (Values{128, 128}));
  EXPECT_EQ(matmul_magnitude(weight, nullptr, ones, Terms::parts).data, (Values{128, 128}));
  EXPECT_TRUE(meets_quantised({"w", 8, 2, 32, w}));
  EXPECT_FALSE(meets_quantised({"w", 0, 2, 32, w}));
  EXPECT_FALSE(meets_quantised({"w", 1, 2, 32, w}));
}

TEST(Matmul, PartsOfAFormatWithAMinimumDoNotCancel) {
  // Q4_1: d = 0.5 (f16 0x3800), m = −4 (0xc400), code 8 in every lane: w = 0.5·8 − 4 = 0, its parts
  // 4 and 4
  std::vector<uint8_t> w = {0x00, 0x38, 0x00, 0xc4};
  w.resize(20, 0x88);
  const op::Weight weight{"w", 3, 1, 32, w};
  const Table x = table({Values(32, -1.0)});
  EXPECT_EQ(matmul(weight, nullptr, x).data, Values{0});
  EXPECT_EQ(matmul_magnitude(weight, nullptr, x, Terms::weights).data, Values{0});
  EXPECT_EQ(matmul_magnitude(weight, nullptr, x, Terms::parts).data, Values{32 * 8.0});
}

TEST(Matmul, ContractEqualsExactWhereActivationsAreIntegersUpTo127) {
  const std::vector<uint8_t> w = q8_rows(3);
  Values x(32);
  for (size_t i = 0; i < 32; ++i) x[i] = double(i * 7 % 255) - 127.0;
  x[5] = 127;
  EXPECT_EQ(quantise(x), x);
  EXPECT_EQ(matmul({"w", 8, 3, 32, w}, nullptr, table({quantise(x)})).data,
            matmul({"w", 8, 3, 32, w}, nullptr, table({x})).data);
}

op::RopeTable quarter_turns(bool adjacent) {
  op::RopeTable rope;
  rope.dimensions = 4;
  rope.adjacent = adjacent;
  rope.frequency = {std::acos(0.0),
                    2 * std::acos(0.0)};  // pair 0 turns by π/2 a position, pair 1 by π
  return rope;
}

void expect_close(const Values& got, const Values& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_TRUE(std::fabs(got[i] - want[i]) <= 1e-13) << i << ": " << got[i];  // 1e-16·2 turns·60
}

TEST(Rope, QuarterTurnsOfAdjacentPairs) {
  // two heads of six lanes; the last two lanes of each pass
  const Values x = {1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60};
  expect_close(rope(x, quarter_turns(true), 2, 0), x);
  expect_close(rope(x, quarter_turns(true), 2, 1),
               {-2, 1, -3, -4, 5, 6, -20, 10, -30, -40, 50, 60});
  expect_close(rope(x, quarter_turns(true), 2, 2), {-1, -2, 3, 4, 5, 6, -10, -20, 30, 40, 50, 60});
}

TEST(Rope, QuarterTurnsOfHalvesAndTheMagnitude) {
  op::RopeTable half = quarter_turns(false);
  half.magnitude = 2;
  // pairs (0, 2) and (1, 3); what passes is not multiplied
  expect_close(rope(Values{1, 2, 3, 4, 5, 6}, half, 1, 1), {-6, -4, 2, -8, 5, 6});
}

TEST(RoundToF16, EqualsTheConversionByBitsEverywhere) {
  // Every f16, the middle between it and the next, and the f32 to either side of both.
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const float here = k_f16_to_f32(uint16_t(bits));
    const float next = bits == 0x7bff ? 65536.0f : k_f16_to_f32(uint16_t(bits + 1));
    const float middle = 0.5f * here + 0.5f * next;  // 12 bits: exact
    for (float x : {here, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e9f)}) {
      ASSERT_EQ(round_to_f16(double(x)), double(k_f16_to_f32(k_f32_to_f16(x)))) << x;
      ASSERT_EQ(round_to_f16(-double(x)), -double(k_f16_to_f32(k_f32_to_f16(x)))) << x;
    }
  }
}

TEST(RoundToF16, KnownValues) {
  EXPECT_EQ(round_to_f16(1 + 0x1p-11), 1.0);                  // a tie: to even
  EXPECT_EQ(round_to_f16(1 + 3 * 0x1p-11), 1 + 2 * 0x1p-10);  // the other tie
  EXPECT_EQ(round_to_f16(65519.0), 65504.0);
  EXPECT_EQ(round_to_f16(65520.0), infinity);
  EXPECT_EQ(round_to_f16(-1e6), -infinity);
  EXPECT_EQ(round_to_f16(0x1p-25), 0.0);
  EXPECT_EQ(round_to_f16(0x1.8p-25), 0x1p-24);
  EXPECT_TRUE(std::isnan(round_to_f16(nan)));
}

TEST(Softmax, HandExampleAndShift) {
  expect_near(softmax(Values{0, std::log(2.0)}), {1.0 / 3, 2.0 / 3});
  expect_near(softmax(Values{5000, 5000 + std::log(2.0)}), {1.0 / 3, 2.0 / 3},
              1e-12);  // 5000 + ln 2 is rounded: 5e-13
  expect_near(softmax(Values{-1e4, 0}), {0, 1});
  for (double p : softmax(Values{0, nan, 1})) EXPECT_TRUE(std::isnan(p));
  for (double p : softmax(Values{nan, 0})) EXPECT_TRUE(std::isnan(p));
}

TEST(Attention, HandExampleIsCausalAndScaled) {
  Cache cache;
  cache.store(0, Values{1, 0}, Values{3, 30, 300});
  cache.store(1, Values{0, 1}, Values{6, 60, 600});
  cache.store(2, Values{50, 50}, Values{1e9, 1e9, 1e9});
  const op::AttentionShape one{1, 1, 2, 3, 0.5f};
  // s = 0.5·(0, 2·ln 2) = (0, ln 2): p = 1/3, 2/3; y = (1·3 + 2·6)/3 = 5
  const Values query = {0, 2 * std::log(2.0)};
  expect_near(attention(query, cache, 1, one), {5, 50, 500});
  expect_near(attention(query, cache, 0, one), {3, 30, 300});  // one key: its value
  const Attended head = attend(Values{-4, 2}, cache, 1, 0, one);
  EXPECT_EQ(head.score, (Values{-2, 1}));
  EXPECT_EQ(head.magnitude, (Values{2, 1}));
}

TEST(Attention, HeadsReadTheKvHeadOfTheirGroup) {
  Cache cache;
  cache.store(0, Values{0, 0}, Values{7, 8});  // two KV heads of one lane
  const op::AttentionShape grouped{6, 2, 1, 1, 1.0f};
  EXPECT_EQ(attention(Values{1, 2, 3, 4, 5, 6}, cache, 0, grouped), (Values{7, 7, 7, 8, 8, 8}));
  // and their keys: query 1 for all, only KV head 1 tells the two positions apart
  cache.store(1, Values{0, 50}, Values{9, 10});
  expect_near(attention(Values(6, 1.0), cache, 1, grouped), {8, 8, 8, 10, 10, 10}, 1e-12);
}

TEST(Attention, StoringAPositionAgainForgetsWhatFollowed) {
  Cache cache;
  for (uint32_t p = 0; p < 4; ++p) cache.store(p, Values{double(p)}, Values{double(p)});
  cache.store(1, Values{9}, Values{9});
  ASSERT_EQ(cache.keys.size(), 2u);
  EXPECT_EQ(cache.keys[1], Values{9});
  EXPECT_EQ(cache.values.size(), 2u);
}

std::vector<double> silu_gate(const Values& g, const Values& u) {
  return gate(op::Activation::silu, g, u);
}

TEST(Gate, SiluHandExample) {
  // sigmoid(ln 3) = 3/4; silu(0) = 0; sigmoid(−ln 3) = 1/4
  const double l = std::log(3.0);
  expect_near(silu_gate(Values{l, 0, -l}, Values{4, 9, 8}), {3 * l, 0, -2 * l});
  EXPECT_EQ(silu_gate(Values{-1000}, Values{5})[0], 0.0);
  EXPECT_EQ(silu_gate(Values{1000}, Values{5})[0], 5000.0);
  EXPECT_TRUE(std::isnan(silu_gate(Values{nan}, Values{0})[0]));
}

TEST(RmsNorm, APartIsNormalisedByItself) {
  // Both parts of (3, 4 | 30, 40) have the same direction: mean squares 12.5 and 1250, no eps.
  const double r = std::sqrt(12.5);
  expect_near(rms_norm(Values{3, 4, 30, 40}, Values{1, 2}, 0), {3 / r, 8 / r, 3 / r, 8 / r});
}

TEST(Add, HandExample) {
  EXPECT_EQ(add(Values{1, -2}, Values{0.5, 2}), (Values{1.5, 0}));
}

// 3·(−2) + 1 = −5, 4·(−2) + 0.5 = −7.5; without a bias −6 and −8
TEST(Scale, IsAProductAndABias) {
  const Values x = {3, 4}, b = {1, 0.5};
  EXPECT_EQ(scale(x, -2, b), (Values{-5, -7.5}));
  EXPECT_EQ(scale(x, -2, {}), (Values{-6, -8}));
}

}  // namespace
}  // namespace assay::judge
