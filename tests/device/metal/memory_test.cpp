// Memory: what is given, refused, copied and resident.
#include "machine.h"

namespace assay::metal::tests {
namespace {

using MetalMemory = MetalTest;

TEST_F(MetalMemory, IsAlignedCountedAndFreedWithTheQueue) {
  device::Queue& queue = open();
  EXPECT_EQ(queue.memory().total, 64u << 20);
  EXPECT_EQ(queue.memory().free, 64u << 20);
  for (uint64_t bytes : {0u, 1u, 255u, 257u, 1u << 20}) {
    const auto address = queue.allocate(bytes);
    ASSERT_EQ(message_of(address), "");
    EXPECT_EQ(*address % 256, 0u);
    EXPECT_NE(*address, 0u);
  }
  // 0 bytes are given as 256, as Metal has no empty buffers; the others as at least that.
  EXPECT_EQ(queue.memory().free, (64u << 20) - (256 + 256 + 256 + 257 + (1u << 20)));
}

TEST_F(MetalMemory, BeyondTheWorkingSetIsRefusedInNumbersAndTheQueueGoesOn) {
  open();
  ASSERT_EQ(message_of(queue_->allocate(30'000'000)), "");
  ASSERT_EQ(message_of(queue_->allocate(30'000'000)), "");
  EXPECT_EQ(message_of(queue_->allocate(30'000'000)),
            "Fake M9 has no 30.0 MB left: 7.1 of 67.1 MB are free");
  const device::Address x = words();
  EXPECT_EQ(message_of(put(x, {7})), "");
  EXPECT_EQ(get(x), 7u);
}

TEST_F(MetalMemory, ABufferLongerThanTheDeviceTakesIsRefused) {
  open();
  EXPECT_EQ(message_of(queue_->allocate(40'000'000)),
            "Fake M9 takes buffers of at most 33.6 MB, 40.0 MB were asked for");
}

TEST_F(MetalMemory, ABufferThatTheSystemDoesNotGiveIsRefused) {
  machine().gives_buffers = false;
  open();
  EXPECT_EQ(message_of(queue_->allocate(1'000'000)),
            "Fake M9 has no 1.0 MB left: 67.1 of 67.1 MB are free");
}

TEST_F(MetalMemory, CopiesAnyBytesAtAnyPlace) {
  open();
  const device::Address x = words(64);
  std::vector<uint8_t> sent(256), back(256);
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = uint8_t(i * 7 + 1);
  ASSERT_EQ(message_of(queue_->upload(x, sent)), "");
  ASSERT_EQ(message_of(queue_->upload(x + 3, std::vector<uint8_t>{9, 8, 7})), "");
  ASSERT_EQ(message_of(queue_->upload(x + 256, {})), "");
  ASSERT_EQ(message_of(queue_->download(x, back)), "");
  sent[3] = 9, sent[4] = 8, sent[5] = 7;
  EXPECT_EQ(back, sent);
}

TEST_F(MetalMemory, OutsideOfAllBuffersBreaksTheQueue) {
  open();
  const device::Address x = words(64);
  std::vector<uint8_t> bytes(8);
  const std::string sentence = message_of(queue_->upload(x + 252, bytes));
  EXPECT_THAT(sentence, testing::MatchesRegex("Fake M9: 8 bytes at 0x[0-9a-f]+ are not in its "
                                              "memory"));
  EXPECT_EQ(message_of(queue_->download(x, bytes)), sentence);
  EXPECT_EQ(message_of(queue_->allocate(4)), sentence);
  EXPECT_EQ(message_of(queue_->wait()), sentence);
}

TEST_F(MetalMemory, IsResidentBeforeTheCommandsThatUseItAreCommitted) {
  open();
  const device::Address x = words(), y = words();
  EXPECT_EQ(message_of(put(x, {5})), "");
  EXPECT_EQ(message_of(step(x, y, 3, 1)), "");
  const device::Address z = words();  // while the command buffer is open
  EXPECT_EQ(message_of(step(y, z, 2, 0)), "");
  EXPECT_EQ(get(z), 32u);
  EXPECT_EQ(message_of(step(z, z, 1, 1)), "");
  EXPECT_EQ(get(z), 33u);
  // The set is committed once for the three, and not again for nothing.
  EXPECT_THAT(fake::world().log,
              testing::ElementsAre("pipeline metal_test_step", "dispatch metal_test_step",
                                   "dispatch metal_test_step", "resident 3", "commit", "wait",
                                   "dispatch metal_test_step", "commit", "wait"));
}

TEST_F(MetalMemory, BeforeMacos15EachEncoderNamesAllMemory) {
  machine().residency_sets = false;
  open();
  const device::Address x = words(), y = words();
  EXPECT_EQ(message_of(put(x, {5})), "");
  EXPECT_EQ(message_of(step(x, y, 3, 1)), "");
  const device::Address z = words();
  EXPECT_EQ(message_of(step(y, z, 2, 0)), "");
  EXPECT_EQ(message_of(queue_->wait()), "");
  EXPECT_EQ(message_of(step(z, z, 1, 1)), "");
  EXPECT_EQ(get(z), 33u);
  EXPECT_EQ(fake::count("use 2"), 1u);
  EXPECT_EQ(fake::count("use 1"), 1u);
  EXPECT_EQ(fake::count("use 3"), 1u);
}

}  // namespace
}  // namespace assay::metal::tests
