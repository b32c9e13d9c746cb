// NVIDIA GPUs as devices, through the CUDA runtime. A build without CUDA has the same functions,
// which return an error that says so (absent.cpp).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "device/queue.h"

namespace assay::device {

/// A GPU as the driver describes it.
struct CudaDevice {
  std::string name;     ///< "NVIDIA H100 80GB HBM3"
  uint32_t capability;  ///< 90 for sm_90
  uint64_t memory;      ///< bytes in all
};

/// The lowest capability that the kernels run on: int8 tiles of 32 columns.
inline constexpr uint32_t lowest_cuda_capability = 80;

/// The GPUs, "cuda:0" first, including those that are too old for assay; never empty. Errors: a
/// build without CUDA, no driver, a driver that is too old, no GPU.
Result<std::vector<CudaDevice>> cuda_devices();

/// A queue on "cuda:index": a stream of its own; before it returns all kernels are loaded and the
/// arithmetic is proven. Errors as above, and an index that is not there, a GPU that is too old or
/// computes f32 otherwise.
Result<std::unique_ptr<Queue>> make_cuda_queue(uint32_t index);

}  // namespace assay::device
