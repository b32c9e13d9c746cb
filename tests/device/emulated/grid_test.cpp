// The emulated grid finds what is wrong with a kernel, and says where.
#include "device/emulated/grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "broken_kernels.h"
#include "device/emulated/fiber.h"
#include "device/emulated/queue.h"

#if defined(__SANITIZE_ADDRESS__)
#define ASSAY_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASSAY_ASAN 1
#endif
#endif

// TSan goes on after a report otherwise, and a death test must die.
extern "C" const char* __tsan_default_options() {
  return "halt_on_error=1";
}

namespace assay::emulated {
namespace {

using testing::HasSubstr;
using Order = Schedule::Order;

constexpr Schedule schedules[] = {
    {Order::forward, 0}, {Order::backward, 0}, {Order::shuffled, 1}, {Order::shuffled, 2}};

struct Outcome {
  Status status = ok();
  std::vector<float> y;
};

Outcome run(const KernelEntry& kernel, Schedule schedule = {}, Grid grid = {1, 1, 64},
            uint32_t count = 16) {
  Outcome result;
  result.y.assign(grid.groups_x * grid.group_size, std::nanf(""));
  const broken::Args args{result.y.data(), count, 0};
  result.status = run_grid(kernel, grid, &args, {schedule, TileMap::rows_of_four, 1});
  return result;
}

std::string error_of(const KernelEntry& kernel, Schedule schedule = {}) {
  const Outcome result = run(kernel, schedule);
  return result.status ? "" : result.status.error().message;
}

TEST(EmulatedGrid, ARightKernelIsTheSameUnderEverySchedule) {
  for (const Schedule& schedule : schedules) {
    const Outcome result = run(right_entry, schedule, {3, 1, 64});
    ASSERT_TRUE(result.status);
    for (uint32_t i = 0; i < 192; ++i) EXPECT_EQ(result.y[i], float(63 - i % 64));
  }
}

// Forward, each thread finds its neighbour's value already there: the mistake shows only when the
// order turns.
TEST(EmulatedGrid, AMissingBarrierShowsBetweenSchedules) {
  if (watches_races) GTEST_SKIP() << "TSan stops at it";
  const Outcome forward = run(missing_barrier_entry, schedules[0]);
  EXPECT_EQ(forward.y[5], 4.0f);
  for (int i = 1; i < 4; ++i) {
    const Outcome other = run(missing_barrier_entry, schedules[i]);
    ASSERT_TRUE(other.status);
    bool differs = false;
    for (size_t j = 0; j < other.y.size(); ++j) differs = differs || !(other.y[j] == forward.y[j]);
    EXPECT_TRUE(differs) << i;
  }
}

TEST(EmulatedGrid, ABarrierInABranchNamesWhoWaitsWhere) {
  for (const Schedule& schedule : schedules)
    EXPECT_THAT(error_of(barrier_in_a_branch_entry, schedule),
                testing::MatchesRegex(
                    "kernel 'barrier_in_a_branch', group \\(0, 0\\): not all threads came to the "
                    "same meeting point: thread 5 \\(and 58 more\\) has ended; thread 0 \\(and 4 "
                    "more\\) waits for barrier_group at broken_kernels.h:[0-9]+"));
}

TEST(EmulatedGrid, TwoBarriersAreNotOne) {
  EXPECT_THAT(
      error_of(two_barriers_entry),
      testing::MatchesRegex(".*thread 0 \\(and 31 more\\) waits for barrier_group at "
                            "broken_kernels.h:[0-9]+; thread 32 \\(and 31 more\\) waits for "
                            "barrier_group at broken_kernels.h:[0-9]+"));
}

TEST(EmulatedGrid, AReturnBeforeABarrierIsFound) {
  EXPECT_THAT(error_of(return_before_a_barrier_entry),
              HasSubstr("thread 16 (and 47 more) has ended"));
}

TEST(EmulatedGrid, AnEarlyKernelThatNeverAwaitsItsInputsIsFound) {
  EXPECT_THAT(error_of(never_awaits_entry), HasSubstr("thread 0: it ended without await_inputs"));
  EXPECT_THAT(error_of(awaits_in_a_branch_entry),
              HasSubstr("thread 7: it ended without await_inputs"));
}

TEST(EmulatedGrid, InputsArriveWhenAllThreadsAwaitThem) {
  if (watches_races) GTEST_SKIP() << "what this kernel reads too early is a race";
  std::vector<float> y(64, 1.0f);
  const broken::Args args{y.data(), 16, 0};
  GridOptions options;
  options.inputs_arrive = [&] { std::fill(y.begin(), y.end(), 5.0f); };
  ASSERT_TRUE(run_grid(reads_before_it_awaits_entry, {1, 1, 64}, &args, options));
  EXPECT_EQ(y, std::vector<float>(64, 2.0f));  // of what was there before
}

TEST(EmulatedGrid, AShuffleInABranchIsFound) {
  EXPECT_THAT(error_of(shuffle_in_a_branch_entry),
              HasSubstr("waits for shuffle_xor at broken_kernels.h"));
}

TEST(EmulatedGrid, ALaneThatIsNotThereIsFound) {
  EXPECT_THAT(error_of(shuffle_from_lane_32_entry), HasSubstr("shuffle_from lane 32"));
}

TEST(EmulatedGrid, AnUnalignedLoadIsFound) {
  EXPECT_THAT(error_of(unaligned_load_entry),
              testing::MatchesRegex(".*thread [0-9]+: an access of 16 bytes at "
                                    "broken_kernels.h:[0-9]+ is [0-9]+ bytes off its alignment"));
}

TEST(EmulatedGrid, SharedMemoryThatNobodyWroteIsNaN) {
  const Outcome result = run(unwritten_shared_entry);
  ASSERT_TRUE(result.status);
  EXPECT_EQ(result.y[1], 1.0f);
  EXPECT_TRUE(std::isnan(result.y[0]));
  EXPECT_TRUE(std::isnan(result.y[63]));
}

TEST(EmulatedGrid, GroupsMustBeWholeSimdsThatTheKernelCanHave) {
  const auto error_of_size = [](const KernelEntry& kernel, uint32_t size) {
    const Status status = run(kernel, {}, {1, 1, size}).status;
    EXPECT_TRUE(status || status.error().exit == Exit::device);
    return status ? "" : status.error().message;
  };
  for (uint32_t size : {0u, 33u, 288u, 1024u})
    EXPECT_THAT(error_of_size(right_entry, size),
                HasSubstr("must be a multiple of 32, at most 256"));
  for (uint32_t size : {0u, 33u, 544u})
    EXPECT_THAT(error_of_size(large_entry, size),
                HasSubstr("must be a multiple of 32, at most 512"));
  EXPECT_EQ(error_of_size(large_entry, 512), "");
  EXPECT_THAT(error_of_size(of_one_size_entry, 32), HasSubstr("it must be 64"));
  EXPECT_EQ(error_of_size(of_one_size_entry, 64), "");
}

TEST(EmulatedGrid, AQueueStaysBrokenAfterAFault) {
  const auto queue = make_queue({});
  auto y = queue->allocate(256);
  ASSERT_TRUE(y);
  const broken::Args args{reinterpret_cast<float*>(*y), 16, 0};
  const Status broken =
      queue->launch(device::launch_of(kernels::barrier_in_a_branch, 1, 1, 64, args));
  ASSERT_FALSE(broken);
  const Status after = queue->launch(device::launch_of(kernels::right, 1, 1, 64, args));
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().message, broken.error().message);
  std::vector<uint8_t> out(4);
  EXPECT_FALSE(queue->download(*y, out));
}

TEST(EmulatedGrid, NamesAndSizesOfArgumentsAreChecked) {
  const uint8_t bytes[4] = {};
  const Status unknown = make_queue({})->launch({"no_such_kernel", 1, 1, 32, bytes});
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message, HasSubstr("no kernel 'no_such_kernel'"));
  const Status size = make_queue({})->launch({"right", 1, 1, 32, bytes});
  ASSERT_FALSE(size);
  EXPECT_THAT(size.error().message, HasSubstr("takes 16 bytes of arguments, not 4"));
}

#if defined(ASSAY_ASAN)
TEST(EmulatedGridDeathTest, AddressSanitizerFindsWhatLiesBeyond) {
  EXPECT_DEATH(run(beyond_shared_entry), "heap-buffer-overflow(.|\n)*broken_kernels.h");
  EXPECT_DEATH(run(beyond_the_buffer_entry), "heap-buffer-overflow(.|\n)*broken_kernels.h");
}
#endif

TEST(EmulatedGridDeathTest, AStackThatIsFullFaults) {
  if (watches_races) GTEST_SKIP() << "TSan's report is another";
  EXPECT_DEATH(run(full_stack_entry), "");
}

TEST(EmulatedGridDeathTest, ThreadSanitizerFindsRaces) {
  if (!watches_races) GTEST_SKIP() << "races are looked for under TSan";
  EXPECT_DEATH(run(missing_barrier_entry),
               "data race(.|\n)*broken_kernels.h:[0-9]+(.|\n)*broken_kernels.h:[0-9]+");
  EXPECT_DEATH(run(groups_that_share_entry, {}, {2, 1, 64}),
               "data race(.|\n)*broken_kernels.h:[0-9]+(.|\n)*broken_kernels.h:[0-9]+");
}

}  // namespace
}  // namespace assay::emulated
