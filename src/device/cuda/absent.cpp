// The device cuda in a build without CUDA.
#include "device/cuda/queue.h"

namespace assay::device {

namespace {

Error no_cuda() {
  return {"this build has no CUDA: " ASSAY_NO_CUDA, Exit::device};
}

}  // namespace

Result<std::vector<CudaDevice>> cuda_devices() {
  return no_cuda();
}
Result<std::unique_ptr<Queue>> make_cuda_queue(uint32_t) {
  return no_cuda();
}

}  // namespace assay::device
