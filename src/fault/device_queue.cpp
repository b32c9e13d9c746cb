#include "fault/device_queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

#include "fault/kernels.h"

namespace assay::fault {

namespace {

using device::Address;
using device::Launch;

// 10: the tile kernel, which takes more than 8 tokens, loses the last 32 columns
// 25: the norm's simds share their sum without a barrier
// 26: a step of the last one's size runs with that one's inputs; the same in replays alone
// 27: the exp of a gate as a compiler with fast maths makes it
constexpr DeviceFault matmul_path{"matmul-path", 10}, race{"race", 25},
    stale_input{"stale-input", 26}, stale_graph{"stale-graph", 26}, fast_math{"fast-math", 27};

class FaultyQueue final : public PassingQueue {
 public:
  FaultyQueue(std::unique_ptr<device::Queue> inner, std::string_view fault)
      : PassingQueue(std::move(inner)), fault_(fault) {}

  /// Uploads after the first launch are a step's inputs.
  Status upload(Address to, std::span<const uint8_t> bytes) override {
    if (Status done = send(); !done) return done;
    if (!launched_) return inner().upload(to, bytes);
    const bool again = bytes.size() == held_.size();
    if (fault_ == stale_input.name && again) return ok();
    to_ = to;
    held_.assign(bytes.begin(), bytes.end());
    waits_ = true;
    return fault_ == stale_graph.name ? ok() : send();
  }
  Status download(Address from, std::span<uint8_t> bytes) override {
    if (Status done = send(); !done) return done;
    return inner().download(from, bytes);
  }
  Status launch(const Launch& launch) override {
    launched_ = true;
    if (Status done = send(); !done) return done;
    Launch altered = launch;
    if (fault_ == matmul_path.name && launch.kernel == kernels::matmul.name) {
      MatmulArgs args;
      std::memcpy(&args, launch.args.data(), sizeof args);
      const Launch first = device::launch_of(kernels::lose_last_block, 1, args.tokens, lanes, args);
      if (Status done = inner().launch(first); !done) return done;
    }
    if (fault_ == race.name && launch.kernel == kernels::rms_norm.name) {
      altered.kernel = kernels::rms_norm_racing.name;
      altered.group_size = kernels::rms_norm_racing.threads;
    }
    if (fault_ == fast_math.name && launch.kernel == kernels::gate.name)
      altered.kernel = kernels::gate_fast_math.name;
    return inner().launch(altered);
  }
  Status wait() override {
    if (Status done = send(); !done) return done;
    return inner().wait();
  }
  Status begin_recording() override {
    launched_ = true;
    if (Status done = send(); !done) return done;
    return inner().begin_recording();
  }
  Status replay(uint32_t recording) override {
    if (!replayed_.insert(recording).second) waits_ = false;  // its inputs never arrive
    if (Status done = send(); !done) return done;
    return inner().replay(recording);
  }

 private:
  /// The upload that waits, if one does.
  Status send() {
    if (!std::exchange(waits_, false)) return ok();
    return inner().upload(to_, held_);
  }

  std::string_view fault_;  // of the list below
  bool launched_ = false, waits_ = false;
  Address to_ = 0;
  std::vector<uint8_t> held_;  // the last upload
  std::set<uint32_t> replayed_;
};

/// Gone after 100 launches. Launches say nothing of it, as they are only queued.
class LostQueue final : public PassingQueue {
 public:
  using PassingQueue::PassingQueue;

  Status upload(Address to, std::span<const uint8_t> bytes) override {
    return lost() ? gone() : inner().upload(to, bytes);
  }
  Status download(Address from, std::span<uint8_t> bytes) override {
    return lost() ? gone() : inner().download(from, bytes);
  }
  Status launch(const Launch& launch) override {
    ++launches_;
    return lost() ? ok() : inner().launch(launch);
  }
  Status wait() override { return lost() ? gone() : inner().wait(); }
  Status replay(uint32_t recording) override {
    ++launches_;
    return lost() ? ok() : inner().replay(recording);
  }

 private:
  bool lost() const { return launches_ > 100; }
  Status gone() const { return Error{inner().name() + " is lost (a seeded fault)", Exit::device}; }

  uint64_t launches_ = 0;
};

}  // namespace

const std::vector<DeviceFault>& device_faults() {
  static const std::vector<DeviceFault> all{matmul_path, race, stale_input, stale_graph, fast_math};
  return all;
}

bool is_device_fault(std::string_view name) {
  return name == device_lost ||
         std::ranges::any_of(device_faults(), [&](const auto& one) { return one.name == name; });
}

Result<std::unique_ptr<device::Queue>> make_faulty_queue(std::unique_ptr<device::Queue> inner,
                                                         std::string_view fault) {
  if (fault == device_lost)
    return std::unique_ptr<device::Queue>(std::make_unique<LostQueue>(std::move(inner)));
  std::string names(device_lost);
  for (const DeviceFault& one : device_faults()) {
    if (one.name == fault)
      return std::unique_ptr<device::Queue>(
          std::make_unique<FaultyQueue>(std::move(inner), one.name));
    names += fmt::format(", {}", one.name);
  }
  return Error{fmt::format("a device cannot have the fault '{}'; it can have: {}", fault, names)};
}

}  // namespace assay::fault
