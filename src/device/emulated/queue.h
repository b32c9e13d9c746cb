// The emulated grid as a device: memory of the host, launches run at once, each on a grid of
// fibers.
#pragma once

#include <memory>

#include "device/emulated/grid.h"
#include "device/queue.h"

namespace assay::emulated {

struct QueueOptions {
  GridOptions grid;
  uint64_t memory = 0;  ///< bytes it has; 0: what the machine can give now
};

std::unique_ptr<device::Queue> make_queue(const QueueOptions& options);

}  // namespace assay::emulated
