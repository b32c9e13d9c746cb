// The emulated grid: one fiber per thread of a workgroup, run one at a time, which meet at barriers
// and exchanges. What it computes defines what a kernel means; what it refuses is a fault in a
// kernel.
//   - a barrier or exchange that not all come to: who waits where, who has ended
//   - an address that is not aligned as load4 and store4 need
//   - shared and device memory begin as NaN (all bits set)
//   - out of bounds: under ASan, as each allocation stands alone; races: under TSan, for which each
//     thread is a thread and only barriers order them
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "lang/lang.h"

namespace assay::emulated {

/// The order in which workgroups, and the threads of a workgroup, run. A correct kernel gives the
/// same bits under each.
struct Schedule {
  enum class Order { forward, backward, shuffled } order = Order::forward;
  uint64_t seed = 0;  ///< of shuffled
};

/// Which lane holds which element of a tile: as NVIDIA's and as Apple's GPUs have it.
enum class TileMap { rows_of_four, quads };

struct GridOptions {
  Schedule schedule;
  TileMap tile_map = TileMap::rows_of_four;
  uint32_t workers = 0;  ///< threads of the host that run groups side by side; 0: the cores
  /// Called in a group of an early kernel when its last thread awaits what earlier launches wrote:
  /// tests let it arrive no sooner.
  std::function<void()> inputs_arrive;
};

struct Grid {
  uint32_t groups_x = 1, groups_y = 1, group_size = 32;
};

/// Runs a kernel over the whole grid. The error names the kernel, the group, and what was wrong.
Status run_grid(const KernelEntry& kernel, const Grid& grid, const void* args,
                const GridOptions& options);

}  // namespace assay::emulated
