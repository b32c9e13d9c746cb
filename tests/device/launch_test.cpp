// A kernel's handle: what it makes of a launch, and what does not compile.
#include <gtest/gtest.h>

#include <set>

#include "device/emulated/kernels.h"
#include "device/queue.h"
#include "kernel/attention.h"
#include "kernel/matmul.h"
#include "kernel/norm.h"

namespace assay::device {
namespace {

template <class Kernel, class Args>
concept Launches = requires(Kernel kernel, Args args) {
  launch_of(kernel, 1, 1, args);
};
template <class Kernel, class Args>
concept LaunchesWithThreads = requires(Kernel kernel, Args args) {
  launch_of(kernel, 1, 1, 64u, args);
};

using RmsNorm = decltype(kernels::rms_norm);
using Matmul = decltype(kernels::matmul);

static_assert(Launches<RmsNorm, RmsNormArgs> && LaunchesWithThreads<RmsNorm, RmsNormArgs>);
static_assert(Launches<Matmul, MatmulArgs>);
// Another kernel's arguments, of the same size or not.
static_assert(!Launches<RmsNorm, MatmulArgs> && !LaunchesWithThreads<RmsNorm, QuantiseArgs>);
static_assert(!Launches<decltype(kernels::attention_chunks), AttentionArgs>);
// A number of threads where the kernel has one of its own.
static_assert(!LaunchesWithThreads<Matmul, MatmulArgs>);

TEST(Launch, HasTheNameTheThreadsAndTheBytesOfItsKernel) {
  const MatmulArgs args{};
  const Launch whole = launch_of(kernels::matmul, 3, 5, args);
  EXPECT_EQ(whole.kernel, "matmul");
  EXPECT_EQ(whole.groups_x, 3u);
  EXPECT_EQ(whole.groups_y, 5u);
  EXPECT_EQ(whole.group_size, 128u);
  EXPECT_EQ(static_cast<const void*>(whole.args.data()), &args);
  EXPECT_EQ(whole.args.size(), sizeof(MatmulArgs));
  const RmsNormArgs norm{};
  EXPECT_EQ(launch_of(kernels::rms_norm, 1, 1, norm).group_size, 256u);
  EXPECT_EQ(launch_of(kernels::rms_norm, 1, 1, 96, norm).group_size, 96u);
}

// Including a kernel's file, as this one does, must not give it to the grid again.
TEST(Launch, EachKernelIsGivenToTheGridOnce) {
  std::set<std::string_view> names;
  for (const KernelEntry* entry : emulated::all_kernels())
    EXPECT_TRUE(names.insert(entry->name).second) << entry->name;
  EXPECT_TRUE(names.contains("rms_norm"));
}

}  // namespace
}  // namespace assay::device
