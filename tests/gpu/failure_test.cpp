// A device that is full, that lacks something, or that breaks in the middle: an error, never
// another device's answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "../cpu/tiny_program.h"
#include "queues.h"

namespace assay {
namespace {

using testing::HasSubstr;

TEST(DeviceFailure, AFullDeviceIsRefusedInNumbersBeforeAnythingIsAllocated) {
  const tests::TinyProgram tiny(quant::Q4_K::id);
  emulated::QueueOptions small;
  small.memory = 1 << 20;
  auto executor = gpu::make_executor("emulated", emulated::make_queue(small), tiny.program,
                                     tests::options_with(1));
  ASSERT_FALSE(executor);
  EXPECT_EQ(executor.error().exit, Exit::device);
  EXPECT_THAT(
      executor.error().message,
      testing::MatchesRegex("not enough memory on emulated grid: weights [0-9.]+ MB \\+ KV "
                            "cache [0-9.]+ MB for 160 positions \\+ work space [0-9.]+ MB = "
                            "[0-9.]+ MB, 1\\.0 MB are free"));
}

TEST(DeviceFailure, ABreakInTheMiddleIsTheStepsError) {
  const tests::TinyProgram tiny(quant::Q4_K::id);
  tests::WatchedQueue::Seen count, seen;
  tests::Tokens tokens;
  for (uint32_t i = 0; i < 12; ++i) tokens.add(tests::token(i), i, 0);
  tests::emulated_executor(tiny.program, tests::options_with(1), {}, &count)
      ->run(tokens.step(), {});
  ASSERT_GT(count.count, 10u);
  for (uint64_t last : {uint64_t(0), count.count / 2, count.count - 1}) {
    seen = {};
    seen.last = last;
    const auto executor = tests::emulated_executor(tiny.program, tests::options_with(1), {}, &seen);
    try {
      executor->run(tokens.step(), {});
      FAIL() << "the step went on after launch " << last;
    } catch (const op::DeviceFailure& failure) {
      EXPECT_EQ(failure.error.exit, Exit::device);
      EXPECT_EQ(failure.error.message, "the device fell off the bus");
    }
  }
}

TEST(DeviceFailure, OtherContractsAndInstructionSetsAreRefused) {
  const tests::TinyProgram tiny(quant::Q4_K::id);
  auto options = tests::options_with(1);
  options.contract = op::Contract::f32;
  auto executor = gpu::make_executor("emulated", emulated::make_queue({}), tiny.program, options);
  ASSERT_FALSE(executor);
  EXPECT_THAT(executor.error().message, HasSubstr("runs only the contract assay/1"));
  options.contract = op::Contract::assay1;
  options.isa = "avx2";
  executor = gpu::make_executor("emulated", emulated::make_queue({}), tiny.program, options);
  ASSERT_FALSE(executor);
  EXPECT_THAT(executor.error().message, HasSubstr("no instruction sets"));
}

TEST(DeviceFailure, HeadsWiderThanTheKernelsAreRefusedByName) {
  tests::TinyProgram tiny(quant::Q4_K::id);
  tiny.program.caches[0].value_dim = 513;
  auto executor = gpu::make_executor("emulated", emulated::make_queue({}), tiny.program,
                                     tests::options_with(1));
  ASSERT_FALSE(executor);
  EXPECT_THAT(executor.error().message, HasSubstr("'blk.0.kqv' has heads of 513"));
}

}  // namespace
}  // namespace assay
