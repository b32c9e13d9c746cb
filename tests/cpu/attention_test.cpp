// Attention kernels against the scalar contract, bit for bit, and against what softmax must do.
#include "data.h"

namespace assay::tests {
namespace {

template <class Element>
void check_shape(uint32_t keys, uint32_t key_dim, uint32_t value_dim, float spread) {
  const uint32_t seed = keys * 1000 + key_dim + value_dim;
  Random random(seed);
  const auto query = random.floats(key_dim);
  const HeadCache<Element> cache(keys, key_dim, value_dim, random.floats(uint64_t(keys) * key_dim),
                                 random.floats(uint64_t(keys) * value_dim));
  const float scale = spread / std::sqrt(float(key_dim));
  const auto want = contract::attention(query, cache.plain_keys, cache.plain_values, scale);
  for (const cpu::Kernels* kernels : all_kernels())
    ASSERT_EQ(difference(cache.attend(*kernels, query, scale), want), "")
        << kernels->isa << (sizeof(Element) == 2 ? " f16" : " f32") << " keys " << keys
        << " key_dim " << key_dim << " value_dim " << value_dim << " seed " << seed;
}

TEST(AttentionSoftmax, HasTheContractsBitsAtEveryShape) {
  for (uint32_t keys : {1u, 2u, 31u, 32u, 33u, 63u, 64u, 65u, 127u, 128u, 129u, 255u, 257u, 1025u})
    for (uint32_t dim : {1u, 16u, 31u, 32u, 64u, 80u, 128u}) {
      if (keys > 300 && dim > 80) continue;
      check_shape<uint16_t>(keys, dim, dim, 1.0f);
      check_shape<float>(keys, dim, dim, 1.0f);
    }
  check_shape<uint16_t>(130, 192, 128, 1.0f);  // keys wider than values
  check_shape<float>(130, 24, 72, 1.0f);
}

/// Scores far apart: probabilities below e^-50 are zero, chunks' maxima climb and fall.
TEST(AttentionSoftmax, HasTheContractsBitsWhereScoresAreFarApart) {
  for (uint32_t keys : {65u, 257u, 1025u}) {
    check_shape<uint16_t>(keys, 16, 16, 30.0f);
    check_shape<float>(keys, 64, 64, 5.0f);
  }
}

/// Σ_j softmax_j·1 = 1. O and L are sums of the same p in two orders: at most 63 and 8 roundings a
/// chunk, three where chunks combine, one division; at random their root.
TEST(AttentionSoftmax, WeightsSumToOne) {
  for (uint32_t keys : {1u, 31u, 64u, 65u, 257u, 1025u}) {
    Random random(keys);
    const auto query = random.floats(64);
    const HeadCache<uint16_t> cache(keys, 64, 64, random.floats(uint64_t(keys) * 64),
                                    std::vector<float>(uint64_t(keys) * 64, 1.0f));
    const double limit = (std::sqrt(63.0 + 8.0 + 3.0 * ((keys + 63) / 64)) + 1) * 0x1p-24 * 4;
    for (const cpu::Kernels* kernels : all_kernels())
      for (float y : cache.attend(*kernels, query, 0.125f))
        EXPECT_TRUE(std::fabs(double(y) - 1) <= limit)
            << kernels->isa << " keys " << keys << " " << y;
  }
}

TEST(AttentionSoftmax, OfOneKeyIsItsValue) {
  Random random(9);
  const auto query = random.floats(32), keys = random.floats(32), values = random.floats(48);
  const HeadCache<uint16_t> cache(1, 32, 48, keys, values);
  for (const cpu::Kernels* kernels : all_kernels())
    EXPECT_EQ(difference(cache.attend(*kernels, query, 0.2f), cache.plain_values), "");
}

TEST(AttentionSoftmax, OfEqualScoresIsTheMean) {
  // A query of zeros scores every key 0: p = 1 each. Small integers, so all sums are exact.
  const uint32_t count = 128;
  std::vector<float> values;
  for (uint32_t j = 0; j < count; ++j) values.push_back(float(j % 16));
  const HeadCache<float> cache(count, 16, 1, Random(10).floats(count * 16), values);
  for (const cpu::Kernels* kernels : all_kernels())
    EXPECT_EQ(cache.attend(*kernels, std::vector<float>(16, 0.0f), 0.25f)[0], 7.5f) << kernels->isa;
}

TEST(AttentionSoftmax, AHugeScoreTakesAllWithoutOverflow) {
  // Scores 0 and 1000 (a chunk before, the same chunk, a chunk after): e^1000 would overflow f32.
  for (uint32_t winner : {0u, 40u, 70u, 129u}) {
    std::vector<float> keys(130, 0.0f), values(130, 3.0f);
    keys[winner] = 1000.0f;
    values[winner] = -2.0f;
    const HeadCache<float> cache(130, 1, 1, keys, values);
    for (const cpu::Kernels* kernels : all_kernels())
      EXPECT_EQ(cache.attend(*kernels, {1.0f}, 1.0f)[0], -2.0f) << kernels->isa << " " << winner;
  }
}

/// Reads stop at the last key: the cache beyond it is NaN (HeadCache), one more key changes it.
TEST(AttentionSoftmax, SeesEachKeyAndNoneBeyond) {
  Random random(12);
  const auto query = random.floats(16), keys = random.floats(130 * 16),
             values = random.floats(130 * 16);
  for (const cpu::Kernels* kernels : all_kernels()) {
    std::vector<float> before(16, 0.0f);
    for (uint32_t count = 1; count <= 130; ++count) {
      const HeadCache<uint16_t> cache(count, 16, 16, keys, values);
      // Scores within ±16·16·16/1000: no key's weight is lost below the others' rounding.
      const auto now = cache.attend(*kernels, query, 0.001f);
      for (float y : now) ASSERT_TRUE(std::isfinite(y)) << kernels->isa << " count " << count;
      ASSERT_NE(difference(now, before), "") << kernels->isa << " count " << count;
      before = now;
    }
  }
}

/// Windows, soft caps, ALiBi and sinks, each alone and together. Hidden keys and values are NaN, and
/// the pages that hold nothing else are no pages at all.
template <class Element>
void check_extras(uint32_t keys, uint32_t dim, const contract::AttentionExtras& extras) {
  const uint32_t seed = keys * 1000 + dim;
  Random random(seed);
  const auto query = random.floats(dim);
  auto k = random.floats(uint64_t(keys) * dim), v = random.floats(uint64_t(keys) * dim);
  std::fill_n(k.begin(), extras.first * dim, NAN);
  std::fill_n(v.begin(), extras.first * dim, NAN);
  HeadCache<Element> cache(keys, dim, dim, k, v);
  for (size_t chunk = 0; chunk < extras.first / 64; ++chunk) cache.pages[chunk] = 0xffffffffu;
  const float scale = 2 / std::sqrt(float(dim));
  const auto want = contract::attention(query, cache.plain_keys, cache.plain_values, scale, extras);
  for (float y : want) ASSERT_TRUE(std::isfinite(y));
  for (const cpu::Kernels* kernels : all_kernels())
    ASSERT_EQ(difference(cache.attend(*kernels, query, scale, extras), want), "")
        << kernels->isa << " keys " << keys << " dim " << dim << " first " << extras.first
        << " cap " << extras.soft_cap << " slope " << extras.slope << " sink "
        << extras.sink.value_or(0) << " seed " << seed;
}

TEST(AttentionExtras, HaveTheContractsBitsAloneAndTogether) {
  for (const uint32_t keys : {1u, 31u, 33u, 64u, 65u, 129u, 257u})
    for (const uint32_t first : {0u, 1u, 30u, 63u, 64u, 65u, 127u, 128u, 200u, 256u})
      for (const uint32_t dim : {31u, 64u}) {
        if (first >= keys) continue;
        for (const float cap : {0.0f, 3.0f})
          for (const float slope : {0.0f, 0.25f, 0x1p-8f})
            for (const std::optional<float> sink :
                 {std::optional<float>(), std::optional(-2.0f), std::optional(30.0f)})
              check_extras<uint16_t>(keys, dim, {first, cap, slope, sink});
        check_extras<float>(keys, dim, {first, 5.0f, 0.5f, 0.0f});
      }
}

TEST(AttentionExtras, AWindowOfOneKeyIsItsValue) {
  Random random(13);
  const auto query = random.floats(32), keys = random.floats(100 * 32),
             values = random.floats(100 * 32);
  const HeadCache<float> cache(100, 32, 32, keys, values);
  for (const cpu::Kernels* kernels : all_kernels())
    EXPECT_EQ(difference(cache.attend(*kernels, query, 0.2f, {.first = 99}),
                         std::span(values).subspan(99 * 32)),
              "");
}

/// Scores 0 of a query of zeros. The sink's share of the softmax is lost: two keys and a sink of
/// equal scores leave 2/3 of the mean; a sink of −infinity leaves all, one of 200 nothing.
TEST(AttentionExtras, ASinkTakesItsShare) {
  const HeadCache<float> cache(2, 16, 1, Random(14).floats(32), {3.0f, 6.0f});
  const std::vector<float> query(16, 0.0f);
  for (const cpu::Kernels* kernels : all_kernels()) {
    const auto with = [&](float sink) {
      return cache.attend(*kernels, query, 0.25f, {.sink = sink})[0];
    };
    EXPECT_EQ(with(0.0f), 3.0f) << kernels->isa;
    EXPECT_EQ(with(-INFINITY), 4.5f) << kernels->isa;
    EXPECT_EQ(with(200.0f), 0.0f) << kernels->isa;
    EXPECT_TRUE(std::isnan(with(NAN))) << kernels->isa;
  }
}

/// Equal scores with ALiBi: a key's weight halves with each position where the slope is ln 2, so of
/// values 0 … 0, 1 the last has 1/(2 − 2^-n).
TEST(AttentionExtras, AlibiHalvesWeightsByDistance) {
  for (const uint32_t count : {3u, 64u, 70u}) {
    std::vector<float> values(count, 0.0f);
    values.back() = 1.0f;
    const HeadCache<float> cache(count, 16, 1, Random(15).floats(count * 16), values);
    const double want = 1 / (2 - std::ldexp(1.0, 1 - int(count)));
    for (const cpu::Kernels* kernels : all_kernels())
      EXPECT_NEAR(cache.attend(*kernels, std::vector<float>(16, 0.0f), 0.25f,
                               {.slope = float(std::log(2.0))})[0],
                  want, 64 * 0x1p-24)
          << kernels->isa << " " << count;
  }
}

/// A cap of c keeps scores of ±1000 at ±c: two keys have weights e^c : e^-c.
TEST(AttentionExtras, ASoftCapKeepsScoresNear) {
  std::vector<float> keys = {1000.0f, -1000.0f};
  const HeadCache<float> cache(2, 1, 1, keys, {1.0f, 0.0f});
  for (const cpu::Kernels* kernels : all_kernels())
    EXPECT_NEAR(cache.attend(*kernels, {1.0f}, 1.0f, {.soft_cap = 1.5f})[0],
                1 / (1 + std::exp(-3.0)), 32 * 0x1p-24)
        << kernels->isa;
}

}  // namespace
}  // namespace assay::tests
