// Attention by several groups a head has the bits of attention by one, however the chunks are
// shared.
#include <gtest/gtest.h>

#include "../cpu/data.h"
#include "kernel/attention.h"
#include "queues.h"

namespace assay {
namespace {

struct Shape {
  uint32_t keys, key_dim, value_dim;
  bool f32;
};

/// Three heads on one KV head, two tokens: the second one sees all keys, the first half of them.
/// The pages are in descending order.
class Bench {
 public:
  Bench(device::Queue& queue, const Shape& shape) : queue_(queue), shape_(shape) {
    tests::Random random(shape.keys);
    const uint32_t positions = (shape.keys + 63) / 64 * 64;
    const auto floats = [&](uint64_t count) {
      std::vector<float> values(count);
      for (float& value : values) value = 2 * random.uniform();
      return values;
    };
    const auto cached = [&](uint64_t count) {
      const auto values = floats(count);
      if (shape.f32) return upload(values);
      std::vector<uint16_t> halves;
      for (float value : values) halves.push_back(k_f32_to_f16(value));
      return upload(halves);
    };
    args.cache = {reinterpret_cast<uint8_t*>(cached(uint64_t(positions) * shape.key_dim)),
                  reinterpret_cast<uint8_t*>(cached(uint64_t(positions) * shape.value_dim)),
                  reinterpret_cast<uint32_t*>(upload(descending(positions / 64))),
                  positions / 64,
                  1,
                  shape.key_dim,
                  shape.value_dim,
                  shape.f32 ? 1u : 0u,
                  0};
    args.step.positions = reinterpret_cast<uint32_t*>(
        upload(std::vector<uint32_t>{shape.keys / 2 - 1, shape.keys - 1}));
    args.step.sequences = reinterpret_cast<uint32_t*>(upload(std::vector<uint32_t>{0, 0}));
    args.queries = reinterpret_cast<float*>(upload(floats(2 * 3 * shape.key_dim)));
    args.heads = 3, args.scale = 0.2f, args.tokens = 2;
    chunks = positions / 64;
  }

  /// The outputs, and their quantised form where the width is whole blocks.
  std::vector<uint32_t> outputs(const std::function<void(const AttentionArgs&)>& launch) {
    const uint32_t width = 2 * 3 * shape_.value_dim;
    AttentionArgs now = args;
    const auto y = *queue_.allocate(width * 4), codes = *queue_.allocate(width),
               scale = *queue_.allocate(width / 8), sums = *queue_.allocate(width / 8);
    now.y = reinterpret_cast<float*>(y);
    const bool whole = shape_.value_dim % 32 == 0;
    if (whole)
      now.quantised = {reinterpret_cast<uint32_t*>(codes), reinterpret_cast<float*>(scale),
                       reinterpret_cast<uint32_t*>(sums)};
    launch(now);
    std::vector<uint32_t> all(width);
    const auto download = [&](device::Address from, size_t at, size_t words) {
      EXPECT_TRUE(queue_.download(from, {reinterpret_cast<uint8_t*>(&all[at]), words * 4}));
    };
    download(y, 0, width);
    if (!whole) return all;
    all.resize(width + width / 4 + width / 16);
    download(codes, width, width / 4);
    download(scale, width + width / 4, width / 32);
    download(sums, width + width / 4 + width / 32, width / 32);
    return all;
  }

  AttentionArgs args{};
  uint32_t chunks;

 private:
  static std::vector<uint32_t> descending(uint32_t pages) {
    std::vector<uint32_t> table;
    while (pages > 0) table.push_back(--pages);
    return table;
  }
  template <class T>
  device::Address upload(const std::vector<T>& values) {
    const auto to = *queue_.allocate(values.size() * sizeof(T));
    EXPECT_TRUE(queue_.upload(
        to, {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(T)}));
    return to;
  }
  device::Queue& queue_;
  Shape shape_;
};

TEST(Attention, HasTheBitsOfOneGroupHoweverManyShareAHead) {
  // More than 32 chunks, which are combined together; heads of other widths than groups.
  for (const Shape& shape : {Shape{2100, 8, 32, false}, Shape{70, 24, 40, false},
                             Shape{640, 5, 320, true}, Shape{2, 16, 64, true}})
    for (const emulated::QueueOptions& options : tests::all_schedules()) {
      const auto queue = emulated::make_queue(options);
      Bench bench(*queue, shape);
      const auto want = bench.outputs([&](const AttentionArgs& args) {
        EXPECT_TRUE(queue->launch(device::launch_of(kernels::attention, 3, 2, args)));
      });
      for (uint32_t parts : {1u, 2u, 3u, 16u}) {
        const auto got = bench.outputs([&](const AttentionArgs& args) {
          AttentionChunksArgs split{args, nullptr, nullptr, bench.chunks, parts};
          const uint64_t chunks = 2 * 3 * bench.chunks;
          split.outputs = reinterpret_cast<float*>(*queue->allocate(chunks * shape.value_dim * 4));
          split.softmax = reinterpret_cast<float*>(*queue->allocate(chunks * 8));
          const uint32_t group = std::min(256u, (shape.value_dim + 31) / 32 * 32);
          EXPECT_TRUE(
              queue->launch(device::launch_of(kernels::attention_chunks, 3 * parts, 2, split)));
          EXPECT_TRUE(
              queue->launch(device::launch_of(kernels::attention_combine, 3, 2, group, split)));
        });
        EXPECT_EQ(got, want) << shape.keys << " keys, " << parts << " groups a head";
      }
    }
}

}  // namespace
}  // namespace assay
