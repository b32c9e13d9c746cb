// Faults seeded at a device's queue, on every queue (emulated, CUDA): those that only a device can
// have, and results of its operations written over.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "device/queue.h"

namespace assay::fault {

/// A fault's name, which is its cause's, too, and its row in the catalogue.
struct DeviceFault {
  std::string_view name;
  int row;
};
const std::vector<DeviceFault>& device_faults();

bool is_device_fault(std::string_view name);

/// No cause of a wrong number: the device is gone after 100 launches.
inline constexpr std::string_view device_lost = "device-lost";

/// A queue that passes all on to `inner` but what the fault alters. Errors: an unknown name.
Result<std::unique_ptr<device::Queue>> make_faulty_queue(std::unique_ptr<device::Queue> inner,
                                                         std::string_view fault);

/// Passes all on to `inner`.
class PassingQueue : public device::Queue {
 public:
  explicit PassingQueue(std::unique_ptr<device::Queue> inner) : inner_(std::move(inner)) {}

  std::string name() const override { return inner_->name(); }
  Memory memory() const override { return inner_->memory(); }
  Result<device::Address> allocate(uint64_t bytes) override { return inner_->allocate(bytes); }
  Status upload(device::Address to, std::span<const uint8_t> bytes) override {
    return inner_->upload(to, bytes);
  }
  Status download(device::Address from, std::span<uint8_t> bytes) override {
    return inner_->download(from, bytes);
  }
  Status launch(const device::Launch& launch) override { return inner_->launch(launch); }
  Status wait() override { return inner_->wait(); }
  Status begin_recording() override { return inner_->begin_recording(); }
  Result<uint32_t> end_recording() override { return inner_->end_recording(); }
  Status replay(uint32_t recording) override { return inner_->replay(recording); }

 protected:
  device::Queue& inner() const { return *inner_; }

 private:
  std::unique_ptr<device::Queue> inner_;
};

/// Remembers where the last download came from, so that another result can be put there.
class OverwritingQueue final : public PassingQueue {
 public:
  using PassingQueue::PassingQueue;

  Status download(device::Address from, std::span<uint8_t> bytes) override {
    last_ = from;
    return PassingQueue::download(from, bytes);
  }
  Status overwrite(std::span<const uint8_t> bytes) { return upload(last_, bytes); }

 private:
  device::Address last_ = 0;
};

}  // namespace assay::fault
