// The queue on a GPU: copies, launches, recordings, and every error as a sentence.
#include <gmock/gmock.h>

#include <thread>

#include "kernel/elementwise.h"
#include "support.h"

namespace assay::tests {
namespace {

using device::Address;
using device::Launch;
using testing::HasSubstr;

constexpr uint32_t count = 1000;

std::vector<float> ramp(float first, float step) {
  std::vector<float> values(count);
  for (uint32_t i = 0; i < count; ++i) values[i] = first + step * float(i);
  return values;
}

/// y = a + b by the kernel `add`.
PairArgs add_args(Address a, Address b, Address y) {
  return {pointer<const float>(a), pointer<const float>(b), pointer<float>(y), count, 0};
}
Status launch_add(device::Queue& queue, const PairArgs& args) {
  return queue.launch(device::launch_of(kernels::add, (count + 127) / 128, 1, 128, args));
}

class CudaQueue : public OnCuda {};

TEST_F(CudaQueue, GivesBackWhatWasUploaded) {
  // Around the 4 MiB of a staging segment, and more than the whole ring of eight.
  for (const size_t size : {1u, 255u, 257u, (4u << 20) - 1, 4u << 20, (4u << 20) + 1, 40000003u}) {
    std::vector<uint8_t> sent(size);
    for (size_t i = 0; i < size; ++i) sent[i] = uint8_t(i * 2654435761u >> 13);
    const std::vector<uint8_t> expected = sent;
    const auto address = queue->allocate(size);
    ASSERT_TRUE(address) << address.error().message;
    EXPECT_EQ(*address % 256, 0u);
    ASSERT_TRUE(queue->upload(*address, sent));
    std::fill(sent.begin(), sent.end(), uint8_t(0));  // the span may be reused
    EXPECT_TRUE(get<uint8_t>(*queue, *address, size) == expected) << size << " bytes";
  }
}

/// 140000 uploads of 256 bytes go once around the ring: none may overwrite one that is under way.
TEST_F(CudaQueue, SmallUploadsDoNotOvertakeEachOther) {
  constexpr uint32_t uploads = 140000, words = 64;
  const auto address = queue->allocate(uint64_t(uploads) * words * 4);
  ASSERT_TRUE(address) << address.error().message;
  std::vector<uint32_t> one(words);
  for (uint32_t i = 0; i < uploads; ++i) {
    std::fill(one.begin(), one.end(), i);
    ASSERT_TRUE(queue->upload(*address + uint64_t(i) * words * 4, bytes_of(one)));
  }
  const auto all = get<uint32_t>(*queue, *address, size_t(uploads) * words);
  uint32_t wrong = 0;
  for (size_t i = 0; i < all.size(); ++i) wrong += all[i] != i / words;
  EXPECT_EQ(wrong, 0u);
}

TEST_F(CudaQueue, NothingIsUploadedAndDownloadedToo) {
  const auto address = queue->allocate(0);
  ASSERT_TRUE(address) << address.error().message;
  EXPECT_NE(*address, 0u);
  EXPECT_TRUE(queue->upload(*address, {}));
  EXPECT_TRUE(queue->download(*address, {}));
}

TEST_F(CudaQueue, LaunchesAKernelByName) {
  const auto a = ramp(1.0f, 0.5f), b = ramp(-3.0f, 0.25f);
  const Address y = put(*queue, std::vector<float>(count, -1.0f));
  const auto done = launch_add(*queue, add_args(put(*queue, a), put(*queue, b), y));
  ASSERT_TRUE(done) << done.error().message;
  const auto sum = get<float>(*queue, y, count);
  for (uint32_t i = 0; i < count; ++i) ASSERT_EQ(sum[i], a[i] + b[i]) << i;
}

/// The runtime's device belongs to a thread; the queue brings its own.
TEST_F(CudaQueue, WorksOnAnotherThreadThanTheOneThatMadeIt) {
  std::vector<float> sum;
  std::thread([&] {
    const Address a = put(*queue, ramp(1.0f, 1.0f)), y = put(*queue, std::vector<float>(count));
    EXPECT_TRUE(launch_add(*queue, add_args(a, a, y)));
    sum = get<float>(*queue, y, count);
  }).join();
  ASSERT_EQ(sum.size(), count);
  EXPECT_EQ(sum[10], 22.0f);  // 2·(1 + 10)
}

/// y = y + b, then z = z + y: in order, or z is wrong. y after n rounds is y0 + n·b.
TEST_F(CudaQueue, AReplayIsItsLaunchesInOrder) {
  const Address b = put(*queue, ramp(0.5f, 0.5f));
  const auto rounds = [&](bool record) {
    const Address y = put(*queue, ramp(1.0f, 0.0f)), z = put(*queue, ramp(0.0f, 0.0f));
    const auto both = [&] {
      PairArgs args = add_args(y, b, y);
      EXPECT_TRUE(launch_add(*queue, args));
      args = add_args(z, y, z);  // the same bytes: a recording must have kept the first ones
      EXPECT_TRUE(launch_add(*queue, args));
      args = {};
    };
    uint32_t handle = 0;
    if (record) {
      EXPECT_TRUE(queue->begin_recording());
      both();
      const auto ended = queue->end_recording();
      EXPECT_TRUE(ended) << ended.error().message;
      handle = ended ? *ended : 0;
      EXPECT_EQ(get<float>(*queue, y, count), ramp(1.0f, 0.0f)) << "a recorded launch has run";
    }
    for (int i = 0; i < 3; ++i) {
      if (record)
        EXPECT_TRUE(queue->replay(handle));
      else
        both();
    }
    return get<float>(*queue, z, count);
  };
  const auto direct = rounds(false), replayed = rounds(true), again = rounds(true);
  // Σ of 1 + n·b[i], n = 1 … 3: 3 + 6·b[i], exact in f32.
  for (uint32_t i = 0; i < count; ++i) ASSERT_EQ(direct[i], 3.0f + 6.0f * (0.5f + 0.5f * i)) << i;
  EXPECT_EQ(replayed, direct);
  EXPECT_EQ(again, direct) << "a second recording";
}

TEST_F(CudaQueue, AnEmptyRecordingIsReplayedAsNothing) {
  ASSERT_TRUE(queue->begin_recording());
  const auto handle = queue->end_recording();
  ASSERT_TRUE(handle) << handle.error().message;
  EXPECT_TRUE(queue->replay(*handle));
  EXPECT_TRUE(queue->wait());
}

TEST_F(CudaQueue, RefusesMoreMemoryThanThereIsInNumbersAndGoesOn) {
  const auto refused = queue->allocate(queue->memory().total * 2);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().exit, Exit::device);
  EXPECT_THAT(
      refused.error().message,
      testing::ContainsRegex("GiB were requested, but only [0-9.]+ GiB of [0-9.]+ GiB are free"));
  EXPECT_TRUE(queue->allocate(1024));
  EXPECT_TRUE(queue->wait());
}

/// What the queue itself refuses: the sentence, and that every later call repeats it.
class CudaRefusal : public OnCuda {
 protected:
  void refuse(const Launch& launch, const std::string& sentence) {
    const auto refused = queue->launch(launch);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().exit, Exit::device);
    EXPECT_EQ(refused.error().message, queue->name() + ": " + sentence);
    const auto later = queue->wait();
    ASSERT_FALSE(later) << "the queue goes on after a launch that failed";
    EXPECT_EQ(later.error().message, refused.error().message);
    EXPECT_FALSE(queue->allocate(1));
  }
  const PairArgs args = {};
};

TEST_F(CudaRefusal, AKernelThatIsNotThere) {
  refuse({"ad", 1, 1, 32, bytes_of_one(args)}, "kernel 'ad' is not in this build");
}
TEST_F(CudaRefusal, ArgumentsOfAnotherSize) {
  refuse({"add", 1, 1, 32, bytes_of_one(args).first(24)},
         "kernel 'add' takes 32 bytes of arguments, not 24");
}
TEST_F(CudaRefusal, AGroupThatIsNoMultipleOf32) {
  const auto refused = queue->launch({"add", 1, 1, 33, bytes_of_one(args)});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("threads, not 33"));
}
TEST_F(CudaRefusal, AGridWithoutGroups) {
  refuse({"add", 0, 1, 32, bytes_of_one(args)},
         "kernel 'add' takes 1 to 2147483647 x 1 to 65535 groups, not 0 x 1");
}
TEST_F(CudaRefusal, ACopyWhileARecordingLasts) {
  const auto address = queue->allocate(4);
  ASSERT_TRUE(address);
  ASSERT_TRUE(queue->begin_recording());
  const auto refused = queue->upload(*address, bytes_of_one(count));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            queue->name() + ": only launches may be queued while a recording lasts");
}
TEST_F(CudaRefusal, ARecordingThatIsNotThere) {
  const auto refused = queue->replay(0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, queue->name() + ": there is no recording 0");
}

/// A kernel that faults ends CUDA for the whole process, so it runs in one of its own.
TEST_F(OnCuda, AKernelThatFaultsBreaksTheQueueAndIsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // starts the program anew: CUDA does not fork
  EXPECT_EXIT(
      {
        if (!queue->begin_recording() || !queue->end_recording() || !queue->replay(0)) std::exit(9);
        if (!queue->launch({"add", 8, 1, 128, bytes_of_one(add_args(0, 0, 0))})) std::exit(10);
        const auto waited = queue->wait();
        if (waited) std::exit(11);
        const auto later = queue->allocate(1);
        if (later || later.error().message != waited.error().message) std::exit(12);
        std::fprintf(stderr, "%s\n", waited.error().message.c_str());
        queue.reset();
        std::exit(int(waited.error().exit));
      },
      testing::ExitedWithCode(3),
      "cudaErrorIllegalAddress .* when waiting; queued last: kernel 'add' on 8 x 1 groups of 128");
}

}  // namespace
}  // namespace assay::tests
