// A queue on the machine's first GPU, or a skip where there is none.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "device/cuda/queue.h"

namespace assay::tests {

/// Skips where the machine's first GPU is missing or too old, and only then: one on which a queue
/// cannot be made is a failure, and with ASSAY_REQUIRE_CUDA (tests/gpu.sh) a missing one is, too.
class OnCuda : public testing::Test {
 protected:
  void SetUp() override {
    const auto devices = device::cuda_devices();
    const bool usable = devices && devices->front().capability >= device::lowest_cuda_capability;
    if (!usable && !std::getenv("ASSAY_REQUIRE_CUDA"))
      GTEST_SKIP() << (devices ? "no CUDA device new enough" : devices.error().message);
    auto made = device::make_cuda_queue(0);
    ASSERT_TRUE(made) << made.error().message;
    queue = std::move(*made);
  }

  std::unique_ptr<device::Queue> queue;
};

template <class T>
std::span<const uint8_t> bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(T)};
}
template <class T>
std::span<uint8_t> bytes_of(std::vector<T>& values) {
  return {reinterpret_cast<uint8_t*>(values.data()), values.size() * sizeof(T)};
}
template <class T>
std::span<const uint8_t> bytes_of_one(const T& value) {
  return {reinterpret_cast<const uint8_t*>(&value), sizeof(T)};
}

/// Device memory that holds `values`; 0 and a failure where it cannot be had.
template <class T>
device::Address put(device::Queue& queue, const std::vector<T>& values) {
  const auto address = queue.allocate(values.size() * sizeof(T));
  EXPECT_TRUE(address) << address.error().message;
  if (!address) return 0;
  const auto done = queue.upload(*address, bytes_of(values));
  EXPECT_TRUE(done) << done.error().message;
  return *address;
}

template <class T>
std::vector<T> get(device::Queue& queue, device::Address from, size_t count) {
  std::vector<T> values(count);
  const auto done = queue.download(from, bytes_of(values));
  EXPECT_TRUE(done) << done.error().message;
  return values;
}

/// The device address as the pointer that arguments hold.
template <class T>
T* pointer(device::Address address) {
  return reinterpret_cast<T*>(uintptr_t(address));
}

}  // namespace assay::tests
