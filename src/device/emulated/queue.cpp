#include "device/emulated/queue.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "device/emulated/kernels.h"

namespace assay::emulated {

namespace {

using device::Address;
using device::Launch;

struct Kept {
  const KernelEntry* kernel;
  Grid grid;
  std::vector<uint8_t> args;
};

/// Bytes that this machine could give without swapping; all it has, where it does not say.
uint64_t available_memory() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("MemAvailable:")) return std::stoull(line.substr(13)) * 1024;
  return uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGESIZE));
}

class EmulatedQueue final : public device::Queue {
 public:
  explicit EmulatedQueue(const QueueOptions& options) : options_(options) {
    if (options_.memory == 0) options_.memory = available_memory();
  }
  ~EmulatedQueue() override {
    for (void* block : blocks_) std::free(block);
  }

  std::string name() const override { return "emulated grid"; }
  Memory memory() const override { return {options_.memory - used_, options_.memory}; }

  Result<Address> allocate(uint64_t bytes) override {
    void* block = nullptr;
    if (bytes > options_.memory - used_ || posix_memalign(&block, 256, bytes ? bytes : 1) != 0)
      return Error{fmt::format("the emulated grid has no {} bytes left ({} of {} are used)", bytes,
                               used_, options_.memory),
                   Exit::device};
    std::memset(block, 0xff, bytes);
    blocks_.push_back(block);
    used_ += bytes;
    return Address(reinterpret_cast<uintptr_t>(block));
  }

  Status upload(Address to, std::span<const uint8_t> bytes) override {
    if (broken_) return *broken_;
    std::memcpy(reinterpret_cast<void*>(to), bytes.data(), bytes.size());
    return ok();
  }
  Status download(Address from, std::span<uint8_t> bytes) override {
    if (broken_) return *broken_;
    std::memcpy(bytes.data(), reinterpret_cast<const void*>(from), bytes.size());
    return ok();
  }

  Status launch(const Launch& launch) override {
    if (broken_) return *broken_;
    const KernelEntry* kernel = find_kernel(launch.kernel);
    if (!kernel) return fail(fmt::format("the emulated grid has no kernel '{}'", launch.kernel));
    if (kernel->args_bytes != launch.args.size())
      return fail(fmt::format("kernel '{}' takes {} bytes of arguments, not {}", launch.kernel,
                              kernel->args_bytes, launch.args.size()));
    Kept one{kernel,
             {launch.groups_x, launch.groups_y, launch.group_size},
             {launch.args.begin(), launch.args.end()}};
    if (recording_) {
      recordings_.back().push_back(std::move(one));
      return ok();
    }
    return run(one);
  }
  Status wait() override {
    if (broken_) return *broken_;
    return ok();
  }

  Status begin_recording() override {
    recordings_.emplace_back();
    recording_ = true;
    return ok();
  }
  Result<uint32_t> end_recording() override {
    recording_ = false;
    return uint32_t(recordings_.size() - 1);
  }
  Status replay(uint32_t recording) override {
    if (broken_) return *broken_;
    for (const Kept& one : recordings_[recording])
      if (Status done = run(one); !done) return done;
    return ok();
  }

 private:
  Status run(const Kept& one) {
    Status done = run_grid(*one.kernel, one.grid, one.args.data(), options_.grid);
    return done ? ok() : fail("the emulated grid: " + done.error().message);
  }
  Status fail(std::string message) {
    broken_ = Error{std::move(message), Exit::device};
    return *broken_;
  }

  QueueOptions options_;
  uint64_t used_ = 0;
  std::vector<void*> blocks_;
  std::vector<std::vector<Kept>> recordings_;
  bool recording_ = false;
  std::optional<Error> broken_;
};

}  // namespace

std::unique_ptr<device::Queue> make_queue(const QueueOptions& options) {
  return std::make_unique<EmulatedQueue>(options);
}

}  // namespace assay::emulated
