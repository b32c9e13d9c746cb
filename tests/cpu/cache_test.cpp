// The KV cache gives back what was stored: every layer, sequence and position, in f16 or f32.
#include "cpu/cache.h"

#include "data.h"

namespace assay::tests {
namespace {

struct Shape {
  uint32_t heads, key_dim, value_dim;
};

op::ExecutorOptions options_of(op::CacheType type) {
  op::ExecutorOptions options;
  options.context = 130;  // two chunks of 64 and two positions of a third
  options.sequences = 2;
  options.cache = type;
  return options;
}

/// The values of one (layer, sequence, position): any fixed function of it.
std::vector<float> values_of(uint32_t layer, uint32_t sequence, uint32_t position, uint32_t n) {
  return Random(layer * 100000 + sequence * 10000 + position).floats(n);
}

TEST(Cache, EveryPositionOfEveryLayerAndSequenceReadsBack) {
  for (const Shape& shape : {Shape{1, 16, 16}, {3, 31, 17}, {2, 64, 80}})
    for (op::CacheType type : {op::CacheType::f16, op::CacheType::f32}) {
      const op::Program program = program_of(shape);
      cpu::Cache cache(program, options_of(type));
      ASSERT_TRUE(cache.allocated());
      const uint32_t key_width = shape.heads * shape.key_dim;
      const uint32_t value_width = shape.heads * shape.value_dim;
      const auto each = [&](auto visit) {
        for (uint32_t layer = 0; layer < 3; ++layer)
          for (uint32_t sequence = 0; sequence < 2; ++sequence)
            for (uint32_t position = 0; position < 130; ++position)
              visit(layer, sequence, position,
                    values_of(layer, sequence, position, key_width + value_width));
      };
      each([&](uint32_t layer, uint32_t sequence, uint32_t position, const auto& x) {
        cache.store(layer, sequence, position, x.data(), x.data() + key_width);
      });
      // Read after all was written: a place that two share would show.
      each([&](uint32_t layer, uint32_t sequence, uint32_t position, auto x) {
        std::vector<float> got(x.size());
        cache.read(layer, sequence, position, got.data(), got.data() + key_width);
        if (type == op::CacheType::f16)
          for (float& value : x) value = k_f16_to_f32(k_f32_to_f16(value));
        ASSERT_EQ(difference(got, x), "")
            << "layer " << layer << " sequence " << sequence << " position " << position;
      });
    }
}

/// What attention reads: keys in chunks of 64 as (key_dim, 64), values as (position, stride).
TEST(Cache, LaysHeadsOutAsAttentionReadsThem) {
  const Shape shape{2, 5, 17};
  const op::Program program = program_of(shape);
  cpu::Cache cache(program, options_of(op::CacheType::f32));
  ASSERT_EQ(cache.value_stride(), 32u);
  for (uint32_t position : {0u, 63u, 64u, 129u}) {
    const auto x = values_of(1, 1, position, 2 * (5 + 17));
    cache.store(1, 1, position, x.data(), x.data() + 10);
    for (uint32_t head = 0; head < 2; ++head) {
      const auto* keys = reinterpret_cast<const float*>(cache.keys(1, 1, head));
      const auto* values = reinterpret_cast<const float*>(cache.values(1, 1, head));
      for (uint32_t d = 0; d < 5; ++d)
        EXPECT_EQ(keys[(position / 64 * 5 + d) * 64 + position % 64], x[head * 5 + d]);
      for (uint32_t d = 0; d < 17; ++d) EXPECT_EQ(values[position * 32 + d], x[10 + head * 17 + d]);
    }
  }
}

TEST(Cache, SaysItsBytes) {
  // Context 130 takes three chunks of 64; values 17 take 32: 3 layers · 2 sequences · 2 heads.
  const op::Program program = program_of({2, 5, 17});
  const uint64_t elements = 3 * 2 * 2 * 192ull * (5 + 32);
  EXPECT_EQ(cpu::Cache::bytes(program, options_of(op::CacheType::f16)), 2 * elements);
  EXPECT_EQ(cpu::Cache::bytes(program, options_of(op::CacheType::f32)), 4 * elements);
}

}  // namespace
}  // namespace assay::tests
