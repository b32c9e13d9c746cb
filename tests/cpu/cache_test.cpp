// The KV cache gives back what was stored: every page and slot, in f16 or f32.
#include "cpu/cache.h"

#include "data.h"

namespace assay::tests {
namespace {

using Shape = op::CacheShape;

op::ExecutorOptions options_of(op::CacheType type) {
  op::ExecutorOptions options;
  options.context = 130;  // two pages of 64 and two positions of a third
  options.sequences = 2;
  options.cache = type;
  return options;
}

/// The values of one (page, slot): any fixed function of it.
std::vector<float> values_of(cpu::Place place, uint32_t n) {
  return Random(place.page * 100 + place.slot).floats(n);
}

TEST(Cache, EverySlotOfEveryPageReadsBack) {
  for (const Shape& shape : {Shape{1, 16, 16}, {3, 31, 17}, {2, 64, 80}})
    for (op::CacheType type : {op::CacheType::f16, op::CacheType::f32}) {
      cpu::Cache cache(shape, options_of(type));
      ASSERT_TRUE(cache.allocated());
      const uint32_t key_width = shape.kv_heads * shape.key_dim;
      const uint32_t value_width = shape.kv_heads * shape.value_dim;
      const auto each = [&](auto visit) {
        for (uint32_t page = 0; page < 6; ++page)
          for (uint32_t slot = 0; slot < 64; ++slot)
            visit(cpu::Place{page, slot}, values_of({page, slot}, key_width + value_width));
      };
      each([&](cpu::Place place, const auto& x) {
        cache.store(place, x.data(), x.data() + key_width);
      });
      // Read after all was written: a place that two share would show.
      each([&](cpu::Place place, auto x) {
        std::vector<float> got(x.size());
        cache.read(place, got.data(), got.data() + key_width);
        if (type == op::CacheType::f16)
          for (float& value : x) value = k_f16_to_f32(k_f32_to_f16(value));
        ASSERT_EQ(difference(got, x), "") << "page " << place.page << " slot " << place.slot;
      });
    }
}

/// What attention reads: a head's keys in a page as (key_dim, 64), values as (64, stride).
TEST(Cache, LaysHeadsOutAsAttentionReadsThem) {
  const Shape shape{2, 5, 17};
  cpu::Cache cache(shape, options_of(op::CacheType::f32));
  ASSERT_EQ(cache.value_stride(), 32u);
  for (const cpu::Place place : {cpu::Place{0, 0}, {0, 63}, {1, 0}, {5, 1}}) {
    const auto x = values_of(place, 2 * (5 + 17));
    cache.store(place, x.data(), x.data() + 10);
    for (uint32_t head = 0; head < 2; ++head) {
      const auto* keys =
          reinterpret_cast<const float*>(cache.keys(head)) + place.page * cache.key_page();
      const auto* values =
          reinterpret_cast<const float*>(cache.values(head)) + place.page * cache.value_page();
      for (uint32_t d = 0; d < 5; ++d) EXPECT_EQ(keys[d * 64 + place.slot], x[head * 5 + d]);
      for (uint32_t d = 0; d < 17; ++d)
        EXPECT_EQ(values[place.slot * 32 + d], x[10 + head * 17 + d]);
    }
  }
}

TEST(Cache, SaysItsBytes) {
  // Context 130 takes three pages of 64; values 17 take 32: 2 sequences · 2 heads.
  const Shape shape{2, 5, 17};
  const uint64_t elements = 2 * 2 * 192ull * (5 + 32);
  op::ExecutorOptions options = options_of(op::CacheType::f16);
  EXPECT_EQ(cpu::Cache::bytes(shape, options), 2 * elements);
  EXPECT_EQ(cpu::Cache::bytes(shape, options_of(op::CacheType::f32)), 4 * elements);
  options.pages = 4;  // in the place of 2 · 3
  EXPECT_EQ(cpu::Cache::bytes(shape, options), 2 * elements / 6 * 4);
}

}  // namespace
}  // namespace assay::tests
