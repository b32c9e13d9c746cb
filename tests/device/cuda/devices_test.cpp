// What is said where no GPU can be used; these run on every machine.
#include <gmock/gmock.h>

#include "support.h"

namespace assay::tests {
namespace {

using testing::MatchesRegex;
using testing::StartsWith;

TEST(CudaDevices, AMachineWithoutOneIsToldWhy) {
  const auto devices = device::cuda_devices();
  if (devices) GTEST_SKIP() << "this machine has " << devices->size();
  EXPECT_EQ(devices.error().exit, Exit::device);
  EXPECT_THAT(devices.error().message,
              MatchesRegex("(no CUDA device|this build has no CUDA): [^\n]{20,}"));
  const auto queue = device::make_cuda_queue(0);
  ASSERT_FALSE(queue);
  EXPECT_EQ(queue.error().exit, Exit::device);
  EXPECT_EQ(queue.error().message, devices.error().message);
}

TEST(CudaDevices, AnIndexThatIsNotThereIsNamedWithTheirNumber) {
  const auto devices = device::cuda_devices();
  if (!devices) GTEST_SKIP() << devices.error().message;
  const auto queue = device::make_cuda_queue(97);
  ASSERT_FALSE(queue);
  EXPECT_EQ(queue.error().exit, Exit::device);
  EXPECT_THAT(queue.error().message, StartsWith("cuda:97 does not exist; this machine has " +
                                                std::to_string(devices->size())));
}

TEST_F(OnCuda, TheListSaysWhatTheQueueSays) {
  const auto first = device::cuda_devices()->front();
  EXPECT_EQ(queue->name(), first.name + " (sm_" + std::to_string(first.capability) + ")");
  EXPECT_GE(first.capability, device::lowest_cuda_capability);
  const auto memory = queue->memory();
  EXPECT_GT(memory.free, 0u);
  EXPECT_LE(memory.free, memory.total);
  // cudaMemGetInfo's total is the device's without what the driver keeps.
  EXPECT_LE(memory.total, first.memory);
}

}  // namespace
}  // namespace assay::tests
