#include "device/emulated/grid.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

#include "base/mix64.h"
#include "device/emulated/group.h"

namespace assay::emulated {

namespace {

/// Shared memory of exactly these bytes, so that ASan sees the byte after.
std::unique_ptr<void, void (*)(void*)> shared_memory(uint32_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, bytes) != 0) throw std::bad_alloc();
  return {memory, std::free};
}

std::vector<uint32_t> order_of_groups(uint32_t count, const Schedule& schedule) {
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  if (schedule.order == Schedule::Order::backward) std::reverse(order.begin(), order.end());
  if (schedule.order == Schedule::Order::shuffled)
    for (uint32_t i = count; i > 1; --i)
      std::swap(order[i - 1], order[mix64(schedule.seed + i) % i]);
  return order;
}

}  // namespace

Status run_grid(const KernelEntry& kernel, const Grid& grid, const void* args,
                const GridOptions& options) {
  if (grid.group_size == 0 || grid.group_size % simd_width != 0 ||
      grid.group_size > kernel.most_threads)
    return Error{fmt::format("kernel '{}': a group of {} threads; it must be a multiple of 32, at "
                             "most {}",
                             kernel.name, grid.group_size, kernel.most_threads),
                 Exit::device};
  if (kernel.exactly && grid.group_size != kernel.most_threads)
    return Error{fmt::format("kernel '{}': a group of {} threads; it must be {}", kernel.name,
                             grid.group_size, kernel.most_threads),
                 Exit::device};
  const auto order = order_of_groups(grid.groups_x * grid.groups_y, options.schedule);
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::string error;
  const auto work = [&] {
    Group group(options);
    std::vector<std::unique_ptr<void, void (*)(void*)>> shared;
    for (size_t i = next++; i < order.size() && !failed; i = next++) {
      // A second use would be a race between two groups that know nothing of each other.
      if (shared.empty() || watches_races) shared.push_back(shared_memory(kernel.shared_bytes));
      std::memset(shared.back().get(), 0xff, kernel.shared_bytes);
      if (group.run(kernel, grid, args, shared.back().get(), order[i] % grid.groups_x,
                    order[i] / grid.groups_x))
        continue;
      const std::scoped_lock lock(mutex);
      if (!failed.exchange(true)) error = group.error();
    }
    group.see_all();
  };
  // TSan is told of fibers on one thread.
  const uint32_t cores = watches_races     ? 1
                         : options.workers ? options.workers
                                           : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> helpers;
  for (uint32_t i = 1; i < std::min<size_t>(cores, order.size() / 2); ++i)
    helpers.emplace_back(work);
  work();
  for (auto& helper : helpers) helper.join();
  if (failed) return Error{error, Exit::device};
  return ok();
}

}  // namespace assay::emulated
