// The kernels that the CUDA queue knows by name. lang/lang_cuda.h declares add_kernel, too: what
// nvcc compiles includes no host header. C++17, for nvcc.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace assay::cuda {

struct Kernel {
  std::string_view name;
  uint32_t args_bytes;
  const void* function;  ///< what cudaLaunchKernel takes
};

/// In the order of their definition.
const std::vector<Kernel>& all_kernels();

/// K_KERNEL calls it before main. `name` must stay.
bool add_kernel(const char* name, uint32_t args_bytes, const void* function);

}  // namespace assay::cuda
