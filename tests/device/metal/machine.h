// A queue on the fake, small kernels whose order shows in their results, and the checks that every
// test ends with.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "device/metal/metal_queue.h"
#include "fake.h"
#include "lang/lang.h"

namespace assay::metal::tests {

struct StepArgs {
  K_DEV const uint32_t* x;
  K_DEV uint32_t* y;
  uint32_t factor, plus;
};

inline constexpr std::string_view step_names[] = {"metal_test_step"};
inline constexpr std::string_view other_names[] = {"metal_test_other"};
inline constexpr KernelFile files[] = {
    {"test/step.h", "kernel void metal_test_step", step_names},
    {"test/other.h", "kernel void metal_test_other", other_names},
};

class MetalTest : public testing::Test {
 protected:
  void SetUp() override { fake::reset(); }
  void TearDown() override {
    queue_.reset();
    EXPECT_THAT(fake::world().misuse, testing::IsEmpty());
    EXPECT_EQ(fake::world().live_objects, 0u);
    EXPECT_EQ(fake::world().allocated, 0u);
  }

  fake::Machine& machine() { return fake::world().machine; }

  static QueueOptions usual() {
    QueueOptions options;
    options.files = files;
    return options;
  }
  /// The queue that the test is about; it lasts until the test ends.
  MetalQueue& open(const QueueOptions& options = usual()) {
    auto made = MetalQueue::open(options);
    if (!made) throw std::runtime_error(made.error().message);
    queue_ = std::move(*made);
    return *queue_;
  }
  static std::string refusal(const QueueOptions& options = usual()) {
    const auto made = MetalQueue::open(options);
    if (made) return "it opened";
    EXPECT_EQ(made.error().exit, Exit::device);
    return made.error().message;
  }

  device::Address words(uint32_t count = 64) {
    const auto address = queue_->allocate(count * 4);
    EXPECT_TRUE(address);
    return address ? *address : 0;
  }
  Status put(device::Address to, const std::vector<uint32_t>& values) {
    return queue_->upload(to, {reinterpret_cast<const uint8_t*>(values.data()), values.size() * 4});
  }
  /// A word of the device's memory.
  uint32_t get(device::Address from) {
    uint32_t value = 0;
    const Status done = queue_->download(from, {reinterpret_cast<uint8_t*>(&value), 4});
    EXPECT_TRUE(done) << done.error().message;
    return value;
  }
  /// y = x·factor + plus.
  Status step(device::Address x, device::Address y, uint32_t factor, uint32_t plus,
              std::string_view kernel = "metal_test_step") {
    const StepArgs args{reinterpret_cast<const uint32_t*>(x), reinterpret_cast<uint32_t*>(y),
                        factor, plus};
    return queue_->launch(
        {kernel, 1, 1, 32, {reinterpret_cast<const uint8_t*>(&args), sizeof args}});
  }

  std::unique_ptr<MetalQueue> queue_;
};

template <class T>
std::string message_of(const Result<T>& result) {
  if (result) return "";
  EXPECT_EQ(result.error().exit, Exit::device);
  return result.error().message;
}

}  // namespace assay::metal::tests
