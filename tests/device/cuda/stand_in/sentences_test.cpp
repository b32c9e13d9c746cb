// Each machine that cannot be used gets its own sentence, and exit code 3.
#include <gmock/gmock.h>

#include "device/cuda/queue.h"
#include "runtime.h"

namespace assay::tests {
namespace {

std::string sentence(const Machine& described, uint32_t index = 0) {
  machine() = described;
  const auto queue = device::make_cuda_queue(index);
  machine() = {};
  if (queue) return "a queue";
  EXPECT_EQ(queue.error().exit, Exit::device);
  return queue.error().message;
}

TEST(CudaSentences, NoDriver) {
  EXPECT_EQ(sentence({.counting = cudaErrorInsufficientDriver, .gpus = 0, .driver = 0}),
            "no CUDA device: no NVIDIA driver is installed (libcuda.so.1 was not found)");
}
TEST(CudaSentences, ADriverThatIsTooOld) {
  EXPECT_THAT(sentence({.counting = cudaErrorInsufficientDriver, .gpus = 0, .driver = 11080}),
              testing::StartsWith("no CUDA device: the NVIDIA driver is too old: it has CUDA 11.8, "
                                  "this build needs 1"));
}
TEST(CudaSentences, NoGpu) {
  const std::string none = "no CUDA device: the NVIDIA driver (CUDA 13.1) sees no GPU";
  EXPECT_EQ(sentence({.counting = cudaErrorNoDevice, .gpus = 0, .driver = 13010}), none);
  EXPECT_EQ(sentence({.gpus = 0, .driver = 13010}), none);
}
TEST(CudaSentences, AnythingElseInTheRuntimesWords) {
  EXPECT_EQ(sentence({.counting = cudaErrorDevicesUnavailable}),
            "no CUDA device: cudaErrorOfAnotherKind (as the runtime describes it) when counting "
            "the GPUs");
}
TEST(CudaSentences, AnIndexThatIsNotThere) {
  EXPECT_EQ(sentence({}, 3), "cuda:3 does not exist; this machine has 1 (cuda:0 is the first)");
  EXPECT_EQ(sentence({.gpus = 4}, 3), "a queue");
}
TEST(CudaSentences, AGpuThatIsTooOld) {
  EXPECT_EQ(sentence({.capability = 75}), "cuda:0, Stand-in, is too old: sm_75, needs sm_80");
  EXPECT_EQ(sentence({.capability = 80}), "a queue");
}

}  // namespace
}  // namespace assay::tests
