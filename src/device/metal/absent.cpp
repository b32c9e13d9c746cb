#include "device/metal/queue.h"

namespace assay::metal {

/// Why there is none, the build knows.
Result<std::unique_ptr<device::Queue>> make_metal_queue() {
  return Error{ASSAY_NO_METAL, Exit::device};
}

}  // namespace assay::metal
