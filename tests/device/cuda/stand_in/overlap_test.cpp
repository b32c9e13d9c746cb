// Launches overlap only where the kernels were compiled to await one another.
#include <gtest/gtest.h>

#include "kernel/elementwise.h"
#include "runtime.h"
#include "support.h"

namespace assay::tests {
namespace {

/// Launches and edges that overlap, of one launch and a recording of three.
uint64_t overlapping(int capability, int ptx) {
  machine() = {.capability = capability, .ptx = ptx};
  auto queue = device::make_cuda_queue(0);
  EXPECT_TRUE(queue) << queue.error().message;
  const auto x = put(**queue, std::vector<float>(32, 1.0f));
  const PairArgs args{pointer<float>(x), pointer<float>(x), pointer<float>(x), 32, 0};
  const auto launch = [&] {
    const auto done = (*queue)->launch(device::launch_of(kernels::add, 1, 1, 32, args));
    EXPECT_TRUE(done) << done.error().message;
  };
  machine().overlapping = 0;
  launch();
  EXPECT_TRUE((*queue)->begin_recording());
  for (int i = 0; i < 3; ++i) launch();
  EXPECT_TRUE((*queue)->end_recording());
  const uint64_t seen = machine().overlapping;
  machine() = {};
  return seen;
}

TEST(CudaOverlap, IsForKernelsThatAwait) {
  EXPECT_EQ(overlapping(90, 90), CUDART_VERSION >= 13000 ? 3u : 1u);
  EXPECT_EQ(overlapping(100, 100), CUDART_VERSION >= 13000 ? 3u : 1u);
}
TEST(CudaOverlap, IsNotForWhatTheDriverCompilesFromThePtxOfOlderGpus) {
  EXPECT_EQ(overlapping(100, 80), 0u);
  EXPECT_EQ(overlapping(80, 80), 0u);
}

}  // namespace
}  // namespace assay::tests
