// The best of a row, pass by pass, against a sort on the host.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "../cpu/data.h"
#include "device/emulated/queue.h"
#include "kernel/top_k.h"
#include "queues.h"

namespace assay {
namespace {

/// The ids that the kernel's passes choose, best first; fewer than k where no logit is left.
std::vector<uint32_t> best_of(device::Queue& queue, const std::vector<float>& logits, uint32_t k) {
  const auto bytes_of = [](const auto& v) {
    return std::span(reinterpret_cast<const uint8_t*>(v.data()), v.size() * sizeof(v[0]));
  };
  auto count = uint32_t(logits.size());
  auto from = *queue.allocate(logits.size() * 4);
  EXPECT_TRUE(queue.upload(from, bytes_of(logits)));
  TopKArgs args{reinterpret_cast<const float*>(from), nullptr, nullptr, count, k};
  for (;;) {
    const uint32_t groups = (count + sorted_keys - 1) / sorted_keys;
    const auto to = *queue.allocate(uint64_t(groups) * k * 8);
    args.to = reinterpret_cast<uint64_t*>(to);
    args.count = count;
    EXPECT_TRUE(queue.launch(device::launch_of(kernels::top_k, groups, 1, args)));
    count = groups * k;
    args.logits = nullptr;
    args.from = args.to;
    if (groups == 1) break;
  }
  std::vector<uint64_t> keys(k);
  EXPECT_TRUE(
      queue.download(reinterpret_cast<uintptr_t>(args.to),
                     {reinterpret_cast<uint8_t*>(keys.data()), keys.size() * sizeof(uint64_t)}));
  std::vector<uint32_t> ids;
  for (uint64_t key : keys)
    if (key) ids.push_back(~uint32_t(key));
  return ids;
}

std::vector<uint32_t> sorted_ids(const std::vector<float>& logits, uint32_t k) {
  std::vector<uint32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0u);
  std::erase_if(ids, [&](uint32_t i) {
    return logits[i] != logits[i] || logits[i] == -std::numeric_limits<float>::infinity();
  });
  std::stable_sort(ids.begin(), ids.end(),
                   [&](uint32_t a, uint32_t b) { return logits[a] > logits[b]; });
  ids.resize(std::min<size_t>(ids.size(), k));
  return ids;
}

// 20000 logits are ten groups, whose 256 best each are two groups, whose are one.
TEST(TopK, IsTheSortsBeginning) {
  for (const emulated::QueueOptions& options : tests::all_schedules()) {
    tests::Random random(7);
    const auto queue = emulated::make_queue(options);
    const auto check = [&](uint32_t count, uint32_t k) {
      std::vector<float> logits(count);
      for (float& logit : logits) logit = 20 * random.uniform();
      EXPECT_EQ(best_of(*queue, logits, k), sorted_ids(logits, k)) << count << " " << k;
    };
    for (const uint32_t count : {1u, 5u, 2047u, 2048u, 2049u, 9001u})
      for (const uint32_t k : {1u, 40u}) check(count, k);
    check(20000, 256);
  }
}

TEST(TopK, TiesGoToTheLowerIdAndNaNIsNeverChosen) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  const std::vector<float> logits = {0.0f, -0.0f, nan, 1.0f, inf, -inf, 1.0f, -3.0f, nan, -inf};
  for (const emulated::QueueOptions& options : tests::all_schedules()) {
    const auto queue = emulated::make_queue(options);
    EXPECT_EQ(best_of(*queue, logits, 10), (std::vector<uint32_t>{4, 3, 6, 0, 1, 7}));
    EXPECT_EQ(best_of(*queue, logits, 1), std::vector<uint32_t>{4});
    EXPECT_EQ(best_of(*queue, {nan, -inf}, 3), std::vector<uint32_t>{});
  }
}

}  // namespace
}  // namespace assay
