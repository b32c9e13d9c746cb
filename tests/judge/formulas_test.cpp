// The judge itself, against examples worked by hand and formulas written a second time.
#include "judge/formulas.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "judge/judge.h"
#include "op/rope.h"
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
  expect_near(rms_norm(Values{3, 4}, 1, Values{1, 2}, 0.0),
              {3 / std::sqrt(12.5), 8 / std::sqrt(12.5)});
  // eps stands inside the root: 1/√(1 + 3) = 1/2
  expect_near(rms_norm(Values{1, -1, 1}, 1, Values{1, 1, -4}, 3.0), {0.5, -0.5, -2});
}

TEST(RmsNorm, NanReachesEveryElement) {
  for (double y : rms_norm(Values{1, nan, 1}, 1, Values{1, 1, 1}, 1e-5)) EXPECT_TRUE(std::isnan(y));
}

TEST(KvStore, ACacheThatIsShownWholeHoldsWhatWasStored) {
  op::Operation operation;
  operation.of = op::KvStore{.cache = 0};
  const Table key = table({{5}}), value = table({{6}});
  const std::vector<int32_t> tokens{7};
  const std::vector<uint32_t> positions{2};
  Caches caches(1);
  caches[0].store(0, Values{1}, Values{2});
  caches[0].store(1, Values{3}, Values{4});
  const auto failures = [&](const Table& got, const Caches& held) {
    const Inputs inputs{{&key, &value}, {tokens, positions, {}, {}}, {&held, 1}, &got};
    return compare(got, expect({}, operation, inputs, {}, {})).failures;
  };
  EXPECT_EQ(failures(table({{5, 6}}), caches), 0u);  // the step's alone
  EXPECT_EQ(failures(table({{5, 6.5}}), caches), 1u);
  EXPECT_EQ(failures(table({{1, 2}, {3, 4}, {5, 6}}), caches), 0u);
  EXPECT_EQ(failures(table({{1, 2}, {3, 4.5}, {5, 6}}), caches), 1u);
  EXPECT_EQ(failures(table({{0, 0}, {3, 4}, {5, 6}}), caches), 2u);
  EXPECT_EQ(failures(table({{1, 2}, {3, 4}, {4, 6}}), caches), 1u);
  EXPECT_EQ(failures(table({{9, 9}, {8, 8}, {5, 6}}), Caches(1)), 0u);  // nobody saw them stored
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
  expect_near(rms_norm(Values{3, 4, 30, 40}, 2, Values{1, 2}, 0), {3 / r, 8 / r, 3 / r, 8 / r});
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

TEST(Gate, OneGateCoversSeveralValues) {
  // sigmoid(ln 3) = 3/4, sigmoid(0) = 1/2
  expect_near(gate(op::Activation::sigmoid, Values{std::log(3.0), 0}, Values{4, 8, 4, 8}),
              {3, 6, 2, 4});
  // min(9, 7)·sigmoid(1.702·7)·(min(9, 7) + 1), and up below −7
  const double g = 7 / (1 + std::exp(-1.702 * 7));
  expect_near(gate(op::Activation::silu_clamped, Values{9, 9}, Values{9, -9}), {8 * g, -6 * g});
}

TEST(LayerNorm, HandExamples) {
  // mean 3, deviations −2 0 2, variance 8/3
  const double r = 1 / std::sqrt(8.0 / 3);
  expect_near(layer_norm(Values{1, 3, 5}, 1, Values{1, 10, 2}, Values{0, 0.5, -1}, 0),
              {-2 * r, 0.5, 4 * r - 1});
  expect_near(layer_norm(Values{1, 3, 5}, 1, Values{1, 1, 1}, {}, 0), {-2 * r, 0, 2 * r});
  // Two parts with a weight of their own each: deviations ∓1 and ∓2, eps 3 inside the root.
  expect_near(layer_norm(Values{1, 3, 1, 5}, 2, Values{1, 1, 10, 10}, {}, 0), {-1, 1, -10, 10});
  expect_near(layer_norm(Values{1, 3}, 1, Values{1, 1}, {}, 3), {-0.5, 0.5});
  for (double y : layer_norm(Values{1, nan, 1}, 1, Values{1, 1, 1}, {}, 1))
    EXPECT_TRUE(std::isnan(y));
}

TEST(RmsNorm, AWeightAsWideAsTheRowDiffersFromPartToPart) {
  const double r = std::sqrt(12.5);
  expect_near(rms_norm(Values{3, 4, 30, 40}, 2, Values{1, 2, 3, 4}, 0),
              {3 / r, 8 / r, 9 / r, 16 / r});
}

// Logits 0, ln 3, ln 4: probabilities 1/8, 3/8, 4/8.
TEST(Route, HandExamples) {
  const Values x = {0, std::log(3.0), std::log(4.0)};
  expect_near(route(x, {}, {.used = 2}), {2, 1, 0.5, 0.375});
  expect_near(route(x, {}, {.used = 2, .renormalise = 1}), {2, 1, 4.0 / 7, 3.0 / 7});
  expect_near(route(x, {}, {.used = 2, .of_chosen = 1, .scale = 2}), {2, 1, 8.0 / 7, 6.0 / 7});
  // sigmoid: 1/2, 3/4, 4/5; the bias only chooses
  expect_near(route(x, Values{1, 0, 0}, {.used = 2, .sigmoid = 1}), {0, 2, 0.5, 0.8});
  // what an engine chose, with its weights
  const std::vector<uint32_t> chosen = {0, 1};
  expect_near(route(x, {}, {.used = 2}, chosen), {0, 1, 0.125, 0.375});
}

TEST(Route, GroupsAndTies) {
  const Values x = {9, 1, 5, 5, 8, 0};
  const auto ids = [&](const op::Route& router) {
    const Values row = route(x, {}, router);
    return Values(row.begin(), row.begin() + 2);
  };
  EXPECT_EQ(ids({.used = 2, .groups = 3, .used_groups = 1}), (Values{0, 1}));
  EXPECT_EQ(ids({.used = 2, .groups = 3, .used_groups = 2}), (Values{0, 4}));
  EXPECT_EQ(ids({.used = 2, .groups = 3, .used_groups = 2, .by_two = 1}), (Values{0, 2}));
  const Values equal = route(Values{0, 0, 0}, {}, {.used = 2});
  EXPECT_EQ(Values(equal.begin(), equal.begin() + 2), (Values{0, 1}));
}

/// Two positions with keys of score 0 and values 3 and 6, and others before them.
Cache far_cache() {
  Cache cache;
  for (uint32_t p = 0; p < 3; ++p) cache.store(p, Values{0}, Values{1000});
  cache.store(3, Values{0}, Values{3});
  cache.store(4, Values{0}, Values{6});
  return cache;
}

TEST(Attention, WindowsHideWhatLiesBefore) {
  op::AttentionShape shape{1, 1, 1, 1, 1.0f};
  shape.window = 2;
  expect_near(attention(Values{1}, far_cache(), 4, shape), {4.5});
  shape.chunked = true;  // positions 4 and 5 share a chunk of two
  expect_near(attention(Values{1}, far_cache(), 4, shape), {6});
  shape.window = 3;  // 3, 4, 5
  expect_near(attention(Values{1}, far_cache(), 4, shape), {4.5});
  EXPECT_EQ(attend(Values{1}, far_cache(), 4, 0, shape).first, 3u);
}

TEST(Attention, ASinkIsAScoreWithoutAValue) {
  op::AttentionShape shape{1, 1, 1, 1, 1.0f};
  shape.window = 2;
  expect_near(attention(Values{1}, far_cache(), 4, shape, Values{0}), {3});  // (3 + 6 + 0)/3
  expect_near(attention(Values{1}, far_cache(), 4, shape, Values{std::log(2.0)}), {9.0 / 4});
  expect_near(attention(Values{1}, far_cache(), 4, shape, Values{-infinity}), {4.5});
}

TEST(Attention, ASoftCapAndAlibiChangeScores) {
  Cache cache;
  cache.store(0, Values{1e6}, Values{1});
  cache.store(1, Values{0}, Values{0});
  op::AttentionShape shape{1, 1, 1, 1, 1.0f};
  shape.soft_cap = float(std::log(3.0));  // scores ln 3 and 0: weights 3/4 and 1/4
  expect_near(attention(Values{1}, cache, 1, shape), {3.0 / 4}, 1e-6);  // ln 3 is rounded to f32
  // Of one head with an exponent of 1 the slope is 2^-1: of two keys the farther loses 1/2.
  op::AttentionShape distant{1, 1, 1, 1, 1.0f};
  distant.alibi = 1;
  expect_near(attention(Values{0}, cache, 1, distant), {1 / (1 + std::exp(0.5))});
  const Attended head = attend(Values{0}, cache, 1, 0, distant);
  EXPECT_EQ(head.score, (Values{-0.5, 0}));
}

/// formula() of one operation over given inputs.
struct OneOperation {
  op::Program program;
  op::Operation operation{.name = "y", .of = op::Add{}};
  std::vector<Table> values;
  std::vector<uint32_t> positions;
  std::vector<int32_t> tokens;

  explicit OneOperation(op::Parameters of, std::vector<Table> inputs = {})
      : values(std::move(inputs)) {
    operation.of = of;
    for (const Table& value : values) {
      operation.inputs.push_back(uint32_t(operation.inputs.size()));
      program.add_value("x", uint32_t(value.width));
    }
  }
  uint32_t add(const char* name, uint64_t rows, const std::vector<float>& data) {
    return program.add_constant(name, data), program.weights.back().rows = rows,
                                             program.weights.back().columns = data.size() / rows,
                                             uint32_t(program.weights.size() - 1);
  }
  OneOperation& weight(uint64_t rows, const std::vector<float>& data) {
    operation.weight = add("w", rows, data);
    return *this;
  }
  OneOperation& bias(uint64_t rows, const std::vector<float>& data) {
    operation.bias = add("b", rows, data);
    return *this;
  }
  Inputs inputs() const {
    Inputs made;
    for (const Table& value : values) made.values.push_back(&value);
    made.step.tokens = tokens;
    made.step.positions = positions;
    return made;
  }
  Values y() const { return formula(program, operation, inputs()).data; }
  Judged expected(const Arithmetic& arithmetic = {}, const Table* got = nullptr) const {
    Inputs made = inputs();
    made.got = got;
    return expect(program, operation, made, codings("assay/1", 0)[0], arithmetic);
  }
};

TEST(SmallOperations, HandExamples) {
  const Table x = table({{-2, -0.5, 0.25, 3}});
  expect_near(OneOperation(op::Clamp{-1, 1}, {x}).y(), {-1, -0.5, 0.25, 1});
  expect_near(OneOperation(op::SoftCap{2}, {x}).y(),
              {2 * std::tanh(-1), 2 * std::tanh(-0.25), 2 * std::tanh(0.125), 2 * std::tanh(1.5)});
  expect_near(OneOperation(op::Slice{1, 1, 2}, {x}).y(), {-0.5, 3});
  expect_near(OneOperation(op::Slice{1, 2, 1}, {x}).y(), {-0.5, 0.25});
  // x > 0: 2x² + x/2; else 3·(e^min(x, −1) − 1 − x) + x/2, in exact numbers of f32
  const Values xielu = OneOperation(op::Xielu{2, 3, 0.5f, -1}, {x}).y();
  expect_near(xielu, {3 * (std::exp(-2.0) - 1 + 2) - 1, 3 * (std::exp(-1.0) - 1 + 0.5) - 0.25,
                      0.125 + 0.125, 18 + 1.5});
}

TEST(PositionScale, GrowsWithTheLogarithmOfSteps) {
  OneOperation one(op::PositionScale{0}, {table({{2}, {2}, {2}, {2}})});
  one.program.rope_tables = {op::make_growth({0.5, 4, 1})};
  one.positions = {0, 3, 6, 30};  // (p + 1)/4: 0, 1, 1, 7
  expect_near(one.y(), {2, 2 + std::log(2.0), 2 + std::log(2.0), 2 + std::log(8.0)});
}

TEST(Embed, LooksUpTokensOrPositions) {
  OneOperation words(op::Embed{}), places(op::Embed{true});
  for (OneOperation* one : {&words, &places}) {
    one->weight(3, {1, 2, 10, 20, 100, 200});
    one->tokens = {2, 0};
    one->positions = {0, 1};
  }
  EXPECT_EQ(words.y(), (Values{100, 200, 1, 2}));
  EXPECT_EQ(places.y(), (Values{1, 2, 10, 20}));
}

/// Experts 0 … 2 of (2, 2): the unit matrix times 1, 10, 100. Token 0 chooses 2 and 0, token 1 the
/// experts 1 and 2; their weights are 0.5, 2 and 1, −1.
const Table routing = table({{2, 0, 0.5, 2}, {1, 2, 1, -1}});
const std::vector<float> units = {1, 0, 0, 1, 10, 0, 0, 10, 100, 0, 0, 100};

TEST(MatmulExperts, EachSlotHasItsExpertsProduct) {
  const Table one_for_all = table({{1, 2}, {3, 4}});
  OneOperation plain(op::MatmulExperts{3}, {one_for_all, routing});
  plain.weight(6, units);
  EXPECT_EQ(plain.y(), (Values{100, 200, 1, 2, 30, 40, 300, 400}));
  plain.bias(3, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(plain.y(), (Values{105, 206, 2, 4, 33, 44, 305, 406}));
  OneOperation each(op::MatmulExperts{3}, {table({{1, 2, 3, 4}, {5, 6, 7, 8}}), routing});
  each.weight(6, units);
  EXPECT_EQ(each.y(), (Values{100, 200, 3, 4, 50, 60, 700, 800}));
  // An id of no expert: NaN there alone.
  OneOperation broken(op::MatmulExperts{3}, {one_for_all, table({{2, 3, 1, 1}, {-1, 0, 1, 1}})});
  broken.weight(6, units);
  const Values y = broken.y();
  for (size_t i : {2u, 3u, 4u, 5u}) EXPECT_TRUE(std::isnan(y[i]));
  EXPECT_EQ((Values{y[0], y[1], y[6], y[7]}), (Values{100, 200, 3, 4}));
  // The bound is that of the product with an expert's rows: Σ |w||x| + |b|.
  const Judged judged = plain.expected();
  EXPECT_EQ(judged.scale.data, (Values{105, 206, 2, 4, 33, 44, 305, 406}));
  EXPECT_EQ(judged.limit_at(0, 0), float_matmul_limit(2, true));
}

TEST(Experts, ScaleSpreadAndMix) {
  const Table slots = table({{1, 2, 3, 4}, {5, 6, 7, 8}});
  OneOperation scaled(op::ScaleExperts{}, {slots, routing});
  scaled.weight(1, {1, 10, 100});
  EXPECT_EQ(scaled.y(), (Values{100, 200, 3, 4, 50, 60, 700, 800}));
  scaled.bias(3, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(scaled.y(), (Values{105, 206, 4, 6, 53, 64, 705, 806}));
  EXPECT_EQ(OneOperation(op::SpreadExperts{}, {table({{1, 2}, {3, 4}}), routing}).y(),
            (Values{0.5, 1, 2, 4, 3, 4, -3, -4}));
  EXPECT_EQ(OneOperation(op::MixExperts{1}, {slots, routing}).y(), (Values{6.5, 9, -2, -2}));
  EXPECT_EQ(OneOperation(op::MixExperts{0}, {slots, routing}).y(), (Values{4, 6, 12, 14}));
  // Bounds: as many roundings as terms, of Σ |x·weight|.
  const Judged mixed = OneOperation(op::MixExperts{1}, {slots, routing}).expected();
  EXPECT_EQ(mixed.scale.data, (Values{6.5, 9, 12, 14}));
  EXPECT_EQ(mixed.limit_at(1, 1), 2.0);
  EXPECT_EQ(scaled.expected().scale.data, (Values{105, 206, 4, 6, 53, 64, 705, 806}));
}

/// assay/1 compares logits, which are exact: no other choice is right. An engine that compares
/// probabilities may take either of two that are a rounding apart, but not one that is far.
TEST(Route, TheJudgeTakesAChoiceThatArithmeticLeavesOpenAndNoOther) {
  const double near = 1 + 0x1p-23;
  OneOperation one(op::Route{.used = 1}, {table({{1, near, 0}})});
  const Arithmetic other{.own = false};
  const auto id = [&](double chosen, const Arithmetic& arithmetic) {
    const Table got = table({{chosen, 0.4}});
    return one.expected(arithmetic, &got).want.data[0];
  };
  EXPECT_EQ(id(1, {}), 1.0);
  EXPECT_EQ(id(0, {}), 1.0);
  EXPECT_EQ(id(0, other), 0.0);
  EXPECT_EQ(id(2, other), 1.0);
  EXPECT_EQ(id(7, other), 1.0);  // no expert at all
  EXPECT_EQ(id(0.5, other), 1.0);
}

/// With 2^64 in a row the squares leave f32: assay/1 gives NaN, other arithmetic may not.
TEST(LayerNorm, BeyondF32ProvesNothing) {
  OneOperation one(op::LayerNorm{1e-5f, 1}, {table({{0x1p80, 0, 1, 2}})});
  one.weight(1, {1, 1, 1, 1});
  for (double want : one.expected().want.data) EXPECT_TRUE(std::isnan(want));
  for (double want : one.expected({.own = false}).want.data) EXPECT_TRUE(std::isfinite(want));
}

}  // namespace
}  // namespace assay::judge
