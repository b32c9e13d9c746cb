// Every kernel is in CUDA's table, with the arguments that the emulated grid's has.
#include "device/emulated/kernels.h"

#include <gtest/gtest.h>

#include <map>

#include "device/cuda/kernels.h"

namespace assay::tests {
namespace {

TEST(CudaKernels, AreThoseOfTheEmulatedGrid) {
  std::map<std::string, uint32_t> expected, found;
  for (const KernelEntry* entry : emulated::all_kernels())
    expected[entry->name] = entry->args_bytes;
  for (const cuda::Kernel& kernel : cuda::all_kernels()) {
    EXPECT_TRUE(found.emplace(kernel.name, kernel.args_bytes).second) << kernel.name << ", twice";
    EXPECT_NE(kernel.function, nullptr) << kernel.name;
  }
  EXPECT_EQ(found, expected);
  EXPECT_TRUE(found.contains("matvec"));
}

}  // namespace
}  // namespace assay::tests
