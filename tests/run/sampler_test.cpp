#include "run/sampler.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "kernel/sampling.h"

namespace assay::run {
namespace {

constexpr float nan_logit = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

/// Everything off but the draw at temperature 1.
SamplerOptions plain() {
  SamplerOptions options;
  options.temperature = 1.0f;
  options.top_k = 0;
  options.top_p = 1.0f;
  options.min_p = 0.0f;
  return options;
}

std::vector<int32_t> ids(const Sampler& sampler, const std::vector<float>& logits) {
  std::vector<int32_t> found;
  double sum = 0;
  for (const Sampler::Candidate& c : sampler.candidates(logits)) {
    found.push_back(c.id);
    sum += c.probability;
  }
  EXPECT_TRUE(found.empty() || std::fabs(sum - 1.0) <= 1e-14);
  return found;
}

using Ids = std::vector<int32_t>;

// Probabilities 0.4, 0.3, 0.2, 0.1 in the order of ids 2, 0, 3, 1 (logits are their logarithms).
const std::vector<float> four = {std::log(0.3f), std::log(0.1f), std::log(0.4f), std::log(0.2f)};

TEST(Sampling, PhiloxKnownAnswers) {
  // The three vectors of philox4x32 10 in Random123's known-answer file.
  using Words = std::array<uint32_t, 4>;
  const auto philox = [](Words c, uint32_t low, uint32_t high) {
    const Random4 r = philox4x32_10({{c[0], c[1], c[2], c[3]}}, low, high);
    return Words{r.word[0], r.word[1], r.word[2], r.word[3]};
  };
  EXPECT_EQ(philox({0, 0, 0, 0}, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0u, ~0u, ~0u, ~0u}, ~0u, ~0u),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

/// The draw of a position as a part of 1.
double uniform(uint64_t seed, uint64_t position) {
  return double(random_bits(seed, position)) * 0x1p-64;
}

TEST(Sampling, RandomBitsAreTheFirstTwoWords) {
  EXPECT_EQ(random_bits(0, 0), 0x6627e8d5e169c58dull);
  double sum = 0;
  for (uint64_t position = 0; position < 10000; ++position) sum += uniform(42, position);
  EXPECT_NEAR(sum / 10000, 0.5, 0.0145);  // five standard deviations: 5·sqrt(1/12/10000)
  // Both halves of seed and position count.
  EXPECT_NE(random_bits(1, 0), random_bits(1ull << 32, 0));
  EXPECT_NE(random_bits(0, 1), random_bits(0, 1ull << 32));
}

TEST(Sampling, HighProductsAreThoseOf128Bits) {
  const uint64_t edges[] = {0, 1, 0xffffffff, 1ull << 32, (1ull << 32) + 1, ~0ull};
  const auto check = [](uint64_t a, uint64_t b) {
    EXPECT_EQ(high_product(a, b), uint64_t((__extension__(unsigned __int128) a * b) >> 64))
        << a << " " << b;
  };
  for (uint64_t a : edges)
    for (uint64_t b : edges) check(a, b);
  for (uint64_t i = 0; i < 1000; ++i) check(random_bits(1, i), random_bits(2, i));
}

TEST(Sampling, WeightsAreSharesInWholeUnits) {
  EXPECT_EQ(weight_of_share(0.0f), 0u);
  EXPECT_EQ(weight_of_share(1.0f), 1ull << 40);
  EXPECT_EQ(weight_of_share(0x1.fffffep-1f), (1ull << 40) - (1ull << 16));
  EXPECT_EQ(weight_of_share(0x1p-40f), 1u);
  EXPECT_EQ(weight_of_share(0x1.fffffep-41f), 0u);
  // On both sides of 2^-17, below which digits are lost.
  for (float share : {0x1.000002p-16f, 0x1.fffffep-18f, 0x1.234566p-20f, 0x1.8p-39f})
    EXPECT_EQ(weight_of_share(share), uint64_t(std::floor(double(share) * 0x1p40))) << share;
}

TEST(Sampler, ProbabilitiesAreTheSoftmaxBestFirst) {
  const auto found = Sampler(plain()).candidates(four);
  ASSERT_EQ(found.size(), 4u);
  const Ids order = {2, 0, 3, 1};
  const double expected[] = {0.4, 0.3, 0.2, 0.1};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(found[i].id, order[i]);
    EXPECT_NEAR(found[i].probability, expected[i],
                1e-7);  // logarithms rounded to f32: 2^-24·|ln p|·p; the exponential's 2^-23.6·p
  }
}

TEST(Sampler, RatiosOfProbabilitiesAreExponentials) {
  // Whatever the size of the difference: the exponential's error, and whole units of 2^-40.
  for (float difference = 0.001f; difference < 590.0f; difference *= 1.07f) {
    const auto found = Sampler(plain()).candidates(std::vector<float>{0.0f, -difference});
    const double expected = std::exp(-double(difference));
    EXPECT_TRUE(std::fabs(found[1].probability / found[0].probability - expected) <=
                0x1p-23 * expected + 0x1p-40)
        << difference;
  }
}

TEST(Sampler, TemperatureDividesTheLogits) {
  SamplerOptions options = plain();
  options.temperature = 0.5f;
  const auto found = Sampler(options).candidates(std::vector<float>{0.0f, 1.0f});
  // e^(1/0.5) / (e^(1/0.5) + 1) = 1 / (1 + e^-2)
  EXPECT_NEAR(found[0].probability, 1.0 / (1.0 + std::exp(-2.0)), 1e-7);
  options.temperature = 1e-38f;  // all but greedy
  EXPECT_EQ(Sampler(options).candidates(std::vector<float>{0.0f, 1.0f})[0].probability, 1.0);
}

TEST(Sampler, TopKKeepsTheBestTiesToTheLowerId) {
  SamplerOptions options = plain();
  options.top_k = 2;
  EXPECT_EQ(ids(Sampler(options), four), (Ids{2, 0}));
  EXPECT_EQ(ids(Sampler(options), {1, 5, 5, 5}), (Ids{1, 2}));
  options.top_k = 100;
  EXPECT_EQ(ids(Sampler(options), four), (Ids{2, 0, 3, 1}));
}

TEST(Sampler, DrawsTheSameFromTheBestItWants) {
  std::vector<float> logits;
  for (int i = 0; i < 500; ++i) logits.push_back(float(i * 7919 % 263) / 16);
  SamplerOptions options;
  EXPECT_EQ(Sampler(options).wanted(), 40u);
  options.temperature = 0;
  EXPECT_EQ(Sampler(options).wanted(), 1u);
  for (const float temperature : {0.0f, 0.8f, 4.0f})
    for (const int32_t top_k : {-1, 0, 1, 7, 1000}) {
      options.temperature = temperature, options.top_k = top_k;
      const Sampler sampler(options);
      EXPECT_EQ(sampler.wanted() == 0, temperature > 0 && top_k <= 0);
      const auto best = op::best_of(logits, sampler.wanted());
      for (uint64_t position = 0; position < 50; ++position)
        EXPECT_EQ(sampler.sample(best, position), sampler.sample(logits, position));
    }
  EXPECT_EQ(Sampler(options).sample(std::vector<op::Candidate>(), 0), -1);
}

TEST(Sampler, PenaltiesWantAllLogits) {
  for (float SamplerOptions::*penalty :
       {&SamplerOptions::repeat_penalty, &SamplerOptions::frequency_penalty,
        &SamplerOptions::presence_penalty}) {
    SamplerOptions options;
    options.*penalty = 1.5f;
    EXPECT_EQ(Sampler(options).wanted(), 0u);
    options.repeat_last_n = 0;
    EXPECT_EQ(Sampler(options).wanted(), 40u);
  }
}

TEST(Sampler, TopPKeepsTheFewestThatReachP) {
  SamplerOptions options = plain();
  // Sums of 0.4, 0.7, 0.9, 1.
  for (const auto& [p, expected] : std::map<float, Ids>{{0.0f, {2}},
                                                        {0.39f, {2}},
                                                        {0.41f, {2, 0}},
                                                        {0.69f, {2, 0}},
                                                        {0.71f, {2, 0, 3}},
                                                        {0.89f, {2, 0, 3}},
                                                        {0.91f, {2, 0, 3, 1}},
                                                        {1.0f, {2, 0, 3, 1}}}) {
    options.top_p = p;
    EXPECT_EQ(ids(Sampler(options), four), expected) << p;
  }
  options.top_p = 0.5f;  // exactly reached counts as reached
  EXPECT_EQ(ids(Sampler(options), {7, 7, 7, 7}), (Ids{0, 1}));
}

TEST(Sampler, MinPKeepsThoseNearTheBest) {
  SamplerOptions options = plain();
  // Against the best's 0.4: 0.75, 0.5, 0.25.
  for (const auto& [p, expected] : std::map<float, Ids>{{0.0f, {2, 0, 3, 1}},
                                                        {0.24f, {2, 0, 3, 1}},
                                                        {0.26f, {2, 0, 3}},
                                                        {0.49f, {2, 0, 3}},
                                                        {0.51f, {2, 0}},
                                                        {0.76f, {2}},
                                                        {1.0f, {2}},
                                                        {2.0f, {2}}}) {
    options.min_p = p;
    EXPECT_EQ(ids(Sampler(options), four), expected) << p;
  }
}

TEST(Sampler, FiltersWorkInOrderAndBeforeTheTemperature) {
  SamplerOptions options = plain();
  // Top-k first: of 0.4, 0.3 top-p sees 0.571, 0.429, so 0.56 keeps one. Before top-k 0.56 would
  // keep two.
  options.top_k = 2;
  options.top_p = 0.56f;
  EXPECT_EQ(ids(Sampler(options), four), (Ids{2}));
  // At temperature 100 the four are nearly equal and top-p 0.41 would keep two of them either way;
  // 0.39 would too if the temperature came first, but keeps one.
  options = plain();
  options.top_p = 0.39f;
  options.temperature = 100.0f;
  EXPECT_EQ(ids(Sampler(options), four), (Ids{2}));
  options = plain();
  options.min_p = 0.51f;
  options.temperature = 100.0f;
  EXPECT_EQ(ids(Sampler(options), four), (Ids{2, 0}));
}

TEST(Sampler, DefaultsAreThoseOfLlamaCpp) {
  const SamplerOptions options;
  EXPECT_EQ(options.temperature, 0.8f);
  EXPECT_EQ(options.top_k, 40);
  EXPECT_EQ(options.top_p, 0.95f);
  EXPECT_EQ(options.min_p, 0.05f);
  EXPECT_EQ(options.repeat_penalty, 1.0f);
  EXPECT_EQ(options.frequency_penalty, 0.0f);
  EXPECT_EQ(options.presence_penalty, 0.0f);
  EXPECT_EQ(options.repeat_last_n, 64);
}

TEST(Sampler, RepeatPenaltyDividesPositiveAndMultipliesNegative) {
  SamplerOptions options = plain();
  options.repeat_penalty = 2.0f;
  Sampler sampler(options);
  for (int32_t token : {0, 1, 2, 0, -5, 99})
    sampler.accept(token);  // out of the vocabulary: no effect
  std::map<int32_t, float> logits;
  for (const auto& c : sampler.candidates(std::vector<float>{3.0f, -3.0f, 0.0f, 1.0f}))
    logits[c.id] = c.logit;
  EXPECT_EQ(logits, (std::map<int32_t, float>{{0, 1.5f}, {1, -6.0f}, {2, 0.0f}, {3, 1.0f}}));
}

TEST(Sampler, FrequencyCountsAndPresenceDoesNot) {
  SamplerOptions options = plain();
  options.frequency_penalty = 0.5f;
  options.presence_penalty = 0.25f;
  Sampler sampler(options);
  for (int32_t token : {0, 1, 0, 0}) sampler.accept(token);
  std::map<int32_t, float> logits;
  for (const auto& c : sampler.candidates(std::vector<float>{3.0f, 3.0f, 3.0f}))
    logits[c.id] = c.logit;
  EXPECT_EQ(logits, (std::map<int32_t, float>{{0, 3 - 1.75f}, {1, 3 - 0.75f}, {2, 3.0f}}));
}

TEST(Sampler, PenaltiesSeeTheirWindowOnly) {
  SamplerOptions options = plain();
  options.temperature = 0;
  options.presence_penalty = 10.0f;
  const std::vector<float> logits = {3.0f, 2.0f, 1.0f};
  const std::pair<int32_t, int32_t> expected[] = {
      {2, 2}, {1, 0}, {0, 0}, {-1, 2}};  // window, greedy choice
  for (const auto& [window, choice] : expected) {
    options.repeat_last_n = window;
    Sampler sampler(options);
    sampler.accept(0);
    sampler.accept(1);
    EXPECT_EQ(sampler.sample(logits, 0), choice) << window;
  }
}

TEST(Sampler, GreedyTakesTheHighestTiesToTheLowerId) {
  SamplerOptions options;
  for (float temperature : {0.0f, -1.0f, nan_logit}) {
    options.temperature = temperature;
    EXPECT_EQ(Sampler(options).sample(std::vector<float>{1, 7, 3, 7}, 5), 1);
    EXPECT_EQ(ids(Sampler(options), {1, 7, 3, 7}), (Ids{1}));
  }
}

TEST(Sampler, NanAndMinusInfinityAreNeverChosen) {
  for (float temperature : {0.0f, 1.0f}) {
    SamplerOptions options = plain();
    options.temperature = temperature;
    const Sampler sampler(options);
    for (uint64_t position = 0; position < 50; ++position) {
      EXPECT_EQ(
          sampler.sample(std::vector<float>{nan_logit, -infinity, -3.0f, nan_logit}, position), 2);
      EXPECT_EQ(sampler.sample(std::vector<float>{1.0f, infinity, 2.0f}, position), 1);
      EXPECT_EQ(sampler.sample(std::vector<float>{nan_logit, nan_logit}, position), -1);
      EXPECT_EQ(sampler.sample(std::vector<float>{-infinity, nan_logit}, position), -1);
      EXPECT_EQ(sampler.sample(std::vector<float>{}, position), -1);
    }
  }
}

TEST(Sampler, BannedTokensAreNeverDrawnWhateverTheirLogits) {
  SamplerOptions options = plain();
  options.banned = {2, 7, -1};               // the best; ids that the logits don't have
  EXPECT_EQ(Sampler(options).wanted(), 0u);  // the best of a device may be banned ones
  EXPECT_EQ(ids(Sampler(options), four), (Ids{0, 3, 1}));
  options.top_k = 1;
  EXPECT_EQ(ids(Sampler(options), four), Ids{0});
  options.temperature = 0;
  EXPECT_EQ(Sampler(options).sample(four, 0), 0);
  options.banned = {0, 1, 2, 3};
  EXPECT_EQ(Sampler(options).sample(four, 0), -1);
}

TEST(Sampler, InfiniteLogitsShareAllTheProbability) {
  const auto found = Sampler(plain()).candidates(std::vector<float>{infinity, 1.0f, infinity});
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].probability, 0.5);
  EXPECT_EQ(found[1].probability, 0.5);
  EXPECT_EQ(found[2].probability, 0.0);
}

TEST(Sampler, DrawsTheCandidateWhoseRangeHoldsTheUniform) {
  SamplerOptions options = plain();
  options.seed = 3;
  const Sampler sampler(options);
  const Ids order = {2, 0, 3, 1};
  for (uint64_t position = 0; position < 200; ++position) {
    const double u = uniform(3, position);
    const int32_t expected = order[u < 0.4 ? 0 : u < 0.7 ? 1 : u < 0.9 ? 2 : 3];
    EXPECT_EQ(sampler.sample(four, position), expected);
    EXPECT_EQ(sampler.sample(four, position), expected) << "the second time: no hidden state";
  }
}

TEST(Sampler, FrequenciesFollowTheProbabilities) {
  // Chi-square, 3 degrees of freedom: above 16.27 once in 1000; the seed is fixed.
  SamplerOptions options = plain();
  options.seed = 2024;
  const Sampler sampler(options);
  const double probability[] = {0.3, 0.1, 0.4, 0.2};
  constexpr int draws = 20000;
  int count[4] = {};
  for (int position = 0; position < draws; ++position)
    ++count[sampler.sample(four, uint64_t(position))];
  double chi_square = 0;
  for (int i = 0; i < 4; ++i) {
    const double expected = draws * probability[i];
    chi_square += (count[i] - expected) * (count[i] - expected) / expected;
  }
  EXPECT_TRUE(chi_square <= 16.27) << chi_square;
  EXPECT_GT(chi_square, 0.0);
}

TEST(Sampler, SeedAndPositionDecideAlone) {
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = float((i * 7919) % 1000) / 250.0f;
  const auto run = [&](uint64_t seed) {
    SamplerOptions options;
    options.seed = seed;
    const Sampler sampler(options);
    Ids tokens;
    for (uint64_t position = 0; position < 64; ++position)
      tokens.push_back(sampler.sample(logits, position));
    return tokens;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

}  // namespace
}  // namespace assay::run
