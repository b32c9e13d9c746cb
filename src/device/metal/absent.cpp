#include "device/metal/queue.h"

namespace assay::metal {

Result<std::unique_ptr<device::Queue>> make_metal_queue() {
#if defined(__APPLE__)
  return Error{"this build has no Metal: it was configured with ASSAY_METAL=OFF", Exit::device};
#else
  return Error{"this build has no Metal: it was not built on macOS", Exit::device};
#endif
}

}  // namespace assay::metal
