// Every kernel as CUDA, and the table of their names.
#include "device/cuda/kernels.h"

#include "kernel/list.h"

namespace assay::cuda {

namespace {

// In a function: the entries of other files may be made before this file's variables.
std::vector<Kernel>& table() {
  static std::vector<Kernel> kernels;
  return kernels;
}

}  // namespace

const std::vector<Kernel>& all_kernels() {
  return table();
}

bool add_kernel(const char* name, uint32_t args_bytes, const void* function) {
  table().push_back({name, args_bytes, function});
  return true;
}

}  // namespace assay::cuda
