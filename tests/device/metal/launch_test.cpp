// Launches: what reaches the kernel, in which order, in how many command buffers.
#include "machine.h"

namespace assay::metal::tests {
namespace {

using MetalLaunch = MetalTest;

TEST_F(MetalLaunch, GridAndArgumentsReachTheKernel) {
  open();
  const device::Address x = words();
  const StepArgs args{reinterpret_cast<const uint32_t*>(x), reinterpret_cast<uint32_t*>(x), 2, 1};
  const std::span bytes(reinterpret_cast<const uint8_t*>(&args), sizeof args);
  EXPECT_EQ(message_of(queue_->launch({"metal_test_step", 3, 5, 96, bytes})), "");
  EXPECT_EQ(message_of(queue_->launch({"metal_test_other", 0, 5, 96, bytes})), "");  // no groups
  EXPECT_EQ(message_of(queue_->wait()), "");
  ASSERT_EQ(fake::world().ran.size(), 1u);
  const fake::Ran& ran = fake::world().ran[0];
  EXPECT_EQ(ran.kernel, "metal_test_step");
  EXPECT_EQ(ran.groups_x, 3u);
  EXPECT_EQ(ran.groups_y, 5u);
  EXPECT_EQ(ran.group_size, 96u);
  EXPECT_THAT(ran.args, testing::ElementsAreArray(bytes));
}

TEST_F(MetalLaunch, EachSeesWhatTheOnesBeforeItWrote) {
  open();
  const device::Address x = words(), y = words();
  EXPECT_EQ(message_of(put(x, {1})), "");
  uint32_t want = 1;
  for (uint32_t i = 0; i < 50; ++i) {
    EXPECT_EQ(message_of(step(x, y, 3, i)), "");
    EXPECT_EQ(message_of(step(y, x, 1, 7, i % 2 ? "metal_test_other" : "metal_test_step")), "");
    want = want * 3 + i;
    want = i % 2 ? want - 7 : want + 7;
  }
  EXPECT_EQ(get(x), want);
}

TEST_F(MetalLaunch, OneAcrossCommandBuffersSeesThemToo) {
  QueueOptions options = usual();
  options.launches = 3;
  options.in_flight = 2;
  open(options);
  const device::Address x = words();
  EXPECT_EQ(message_of(put(x, {1})), "");
  uint32_t want = 1;
  for (uint32_t i = 0; i < 20; ++i) {
    EXPECT_EQ(message_of(step(x, x, 3, i)), "");
    want = want * 3 + i;
  }
  // 20 launches: six buffers of 3; the third and each after it wait for one before.
  EXPECT_EQ(fake::count("commit"), 6u);
  EXPECT_EQ(fake::count("wait"), 4u);
  EXPECT_EQ(get(x), want);
  EXPECT_EQ(fake::count("commit"), 7u);
  EXPECT_EQ(queue_->work().command_buffers, 7u);
  EXPECT_EQ(queue_->work().launches, 20u);
  EXPECT_NEAR(queue_->work().gpu_seconds, 0.020, 1e-9);  // the fake's millisecond a dispatch
}

TEST_F(MetalLaunch, AnUploadTakesItsTurnBehindQueuedLaunches) {
  open();
  const device::Address x = words(), y = words();
  EXPECT_EQ(message_of(put(x, {10})), "");
  EXPECT_EQ(message_of(step(x, y, 2, 0)), "");  // 20
  EXPECT_EQ(message_of(put(x, {100, 4})), "");  // not seen by the launch before it
  EXPECT_EQ(message_of(step(x, x, 1, 5)), "");  // 105
  EXPECT_EQ(fake::count("commit"), 0u);
  EXPECT_EQ(fake::count("copy"), 1u);
  EXPECT_EQ(get(y), 20u);
  EXPECT_EQ(get(x), 105u);
  EXPECT_EQ(get(x + 4), 4u);
}

TEST_F(MetalLaunch, AnUploadTakesItsTurnBehindCommandsInFlight) {
  QueueOptions options = usual();
  options.launches = 1;
  open(options);
  const device::Address x = words(), y = words();
  EXPECT_EQ(message_of(put(x, {10})), "");
  EXPECT_EQ(message_of(step(x, y, 2, 0)), "");
  EXPECT_EQ(fake::count("commit"), 1u);  // in flight, and the fake has not run it
  EXPECT_EQ(message_of(put(x, {100})), "");
  EXPECT_EQ(fake::count("wait"), 0u);
  EXPECT_EQ(get(y), 20u);
  EXPECT_EQ(get(x), 100u);
}

TEST_F(MetalLaunch, AnUploadThatIsNotStagedWaits) {
  QueueOptions options = usual();
  options.staging_bytes = 32;
  open(options);
  const device::Address x = words(64), y = words();
  EXPECT_EQ(message_of(put(x, {10})), "");
  EXPECT_EQ(message_of(step(x, y, 2, 0)), "");
  EXPECT_EQ(message_of(put(x, std::vector<uint32_t>(64, 3))), "");  // longer than staging
  EXPECT_EQ(fake::count("wait"), 1u);
  EXPECT_EQ(message_of(step(x, y + 4, 2, 0)), "");
  EXPECT_EQ(message_of(put(x, {1, 1, 1, 1, 1, 1})), "");  // 24 of 32 bytes
  EXPECT_EQ(fake::count("wait"), 1u);
  EXPECT_EQ(message_of(put(x, {2, 2, 2})), "");  // 8 are left
  EXPECT_EQ(fake::count("wait"), 2u);
  EXPECT_EQ(message_of(step(x, y + 8, 2, 0)), "");
  EXPECT_EQ(message_of(queue_->upload(x + 1, std::vector<uint8_t>{9})), "");  // part of a word
  EXPECT_EQ(fake::count("wait"), 3u);
  EXPECT_EQ(message_of(step(x + 16, y + 12, 2, 0)), "");
  EXPECT_EQ(message_of(put(x, {5, 5, 5, 5, 5, 5, 5, 5})), "");  // staging is free again
  EXPECT_EQ(fake::count("wait"), 3u);
  EXPECT_EQ(get(y), 20u);
  EXPECT_EQ(get(y + 4), 6u);
  EXPECT_EQ(get(y + 8), 4u);
  EXPECT_EQ(get(y + 12), 2u);
  EXPECT_EQ(get(x + 28), 5u);
}

TEST_F(MetalLaunch, ARecordingRunsWhenReplayedWithItsOwnArguments) {
  open();
  const device::Address x = words(), y = words();
  EXPECT_EQ(message_of(put(x, {1})), "");
  std::vector<uint32_t> handles;
  for (uint32_t plus : {1u, 100u}) {
    EXPECT_EQ(message_of(queue_->begin_recording()), "");
    for (int i = 0; i < 2; ++i) EXPECT_EQ(message_of(step(x, x, 2, plus)), "");
    const auto handle = queue_->end_recording();
    ASSERT_EQ(message_of(handle), "");
    handles.push_back(*handle);
  }
  EXPECT_EQ(get(x), 1u);
  EXPECT_EQ(fake::count("dispatch metal_test_step"), 0u);
  for (uint32_t handle : {handles[0], handles[1], handles[0]})
    EXPECT_EQ(message_of(queue_->replay(handle)), "");
  EXPECT_EQ(message_of(step(x, y, 1, 1)), "");
  // ((1·2+1)·2+1 = 7; (7·2+100)·2+100 = 328; (328·2+1)·2+1 = 1315
  EXPECT_EQ(get(x), 1315u);
  EXPECT_EQ(get(y), 1316u);
}

TEST_F(MetalLaunch, ManyTokensShareACommandBuffer) {
  open();
  const device::Address input = words(), x = words();
  EXPECT_EQ(message_of(put(x, {0})), "");
  EXPECT_EQ(message_of(queue_->begin_recording()), "");
  EXPECT_EQ(message_of(step(input, input, 2, 0)), "");
  EXPECT_EQ(message_of(step(input, x, 1, 3)), "");
  const auto token = queue_->end_recording();
  ASSERT_EQ(message_of(token), "");
  for (uint32_t i = 0; i < 20; ++i) {
    EXPECT_EQ(message_of(put(input, {i})), "");  // the first while the queue is idle
    EXPECT_EQ(message_of(queue_->replay(*token)), "");
  }
  EXPECT_EQ(fake::count("commit"), 0u);
  EXPECT_EQ(get(x), 2 * 19u + 3);
  EXPECT_EQ(fake::count("commit"), 1u);
  EXPECT_EQ(fake::count("copy"), 19u);
}

TEST_F(MetalLaunch, OnlyLaunchesMayBeRecorded) {
  open();
  const device::Address x = words();
  std::vector<uint8_t> byte(1);
  EXPECT_EQ(message_of(queue_->begin_recording()), "");
  const std::string end = " is not possible in a recording";
  EXPECT_EQ(message_of(put(x, {1})), "Fake M9: an upload" + end);
  EXPECT_EQ(message_of(queue_->download(x, byte)), "Fake M9: a download" + end);
  EXPECT_EQ(message_of(queue_->wait()), "Fake M9: a wait" + end);
  EXPECT_EQ(message_of(queue_->replay(0)), "Fake M9: a replay" + end);
  EXPECT_EQ(message_of(queue_->begin_recording()), "Fake M9: another recording" + end);
  EXPECT_EQ(message_of(step(x, x, 1, 0)), "");
  EXPECT_EQ(message_of(queue_->end_recording()), "");
  EXPECT_EQ(message_of(queue_->replay(1)), "Fake M9 has no recording 1");
}

TEST_F(MetalLaunch, WhatIsQueuedMayEndWithTheQueue) {
  QueueOptions options = usual();
  options.launches = 2;
  open(options);
  const device::Address x = words();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(message_of(step(x, x, 1, 1)), "");
  queue_.reset();  // one command buffer in flight, one open: TearDown looks for misuse
  EXPECT_EQ(fake::world().ran.size(), 2u);
}

}  // namespace
}  // namespace assay::metal::tests
