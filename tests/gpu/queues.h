// Queues for the tests: one that counts what is launched, one that breaks.
#pragma once

#include <algorithm>
#include <map>
#include <string>

#include "device/emulated/queue.h"
#include "gpu/executor.h"

namespace assay::tests {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

/// Forward, backward and two shuffles, and the other map of a tile's lanes. Under sanitizers, which
/// look at memory and not at bits, two.
inline std::vector<emulated::QueueOptions> all_schedules() {
  using emulated::TileMap;
  using Order = emulated::Schedule::Order;
  const auto with = [](emulated::Schedule schedule, TileMap map) {
    emulated::QueueOptions options;
    options.grid.schedule = schedule;
    options.grid.tile_map = map;
    return options;
  };
  const TileMap rows = TileMap::rows_of_four, quads = TileMap::quads;
  if (sanitized) return {with({Order::forward, 0}, rows), with({Order::shuffled, 3}, quads)};
  return {with({Order::forward, 0}, rows),  with({Order::backward, 0}, rows),
          with({Order::shuffled, 1}, rows), with({Order::shuffled, 2}, rows),
          with({Order::forward, 0}, quads), with({Order::shuffled, 3}, quads)};
}

/// Passes everything on; remembers the launches, and fails from launch `last` on.
class WatchedQueue final : public device::Queue {
 public:
  struct Seen {
    std::map<std::string, uint64_t> launches;
    std::map<std::string, uint32_t> threads;  // of the largest group
    uint64_t count = 0, uploads = 0;
    uint64_t last = UINT64_MAX;
  };
  WatchedQueue(std::unique_ptr<device::Queue> inner, Seen& seen)
      : inner_(std::move(inner)), seen_(seen) {}

  std::string name() const override { return inner_->name(); }
  Memory memory() const override { return inner_->memory(); }
  Result<device::Address> allocate(uint64_t bytes) override { return inner_->allocate(bytes); }
  Status upload(device::Address to, std::span<const uint8_t> bytes) override {
    ++seen_.uploads;
    return inner_->upload(to, bytes);
  }
  Status download(device::Address from, std::span<uint8_t> bytes) override {
    return broken_ ? *broken_ : inner_->download(from, bytes);
  }
  Status launch(const device::Launch& launch) override {
    ++seen_.launches[std::string(launch.kernel)];
    uint32_t& threads = seen_.threads[std::string(launch.kernel)];
    threads = std::max(threads, launch.group_size);
    if (++seen_.count > seen_.last) broken_ = Error{"the device fell off the bus", Exit::device};
    return broken_ ? *broken_ : inner_->launch(launch);
  }
  Status wait() override { return inner_->wait(); }
  Status begin_recording() override { return inner_->begin_recording(); }
  Result<uint32_t> end_recording() override { return inner_->end_recording(); }
  Status replay(uint32_t recording) override { return inner_->replay(recording); }

 private:
  std::unique_ptr<device::Queue> inner_;
  Seen& seen_;
  std::optional<Status> broken_;
};

/// The executor of the emulated grid; `seen` may be null.
inline std::unique_ptr<op::Executor> emulated_executor(const op::Program& program,
                                                       const op::ExecutorOptions& options,
                                                       const emulated::QueueOptions& queue = {},
                                                       WatchedQueue::Seen* seen = nullptr) {
  std::unique_ptr<device::Queue> device = emulated::make_queue(queue);
  if (seen) device = std::make_unique<WatchedQueue>(std::move(device), *seen);
  auto executor = gpu::make_executor("emulated", std::move(device), program, options);
  if (!executor) throw std::runtime_error(executor.error().message);
  return std::move(*executor);
}

}  // namespace assay::tests
