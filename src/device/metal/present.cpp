#include "device/arithmetic.h"
#include "device/metal/metal_queue.h"
#include "device/metal/queue.h"

namespace assay::metal {

Result<std::unique_ptr<device::Queue>> make_metal_queue() {
  QueueOptions options;
  options.files = kernel_files();
  auto queue = MetalQueue::open(options);
  if (!queue) return queue.error();
  if (Status sound = device::prove_arithmetic(**queue); !sound) return sound.error();
  return std::unique_ptr<device::Queue>(std::move(*queue));
}

}  // namespace assay::metal
