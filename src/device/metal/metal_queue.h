// The queue over the calls of calls.h.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "device/metal/calls.h"
#include "device/metal/sentences.h"
#include "device/metal/sources.h"
#include "device/queue.h"

namespace assay::metal {

struct QueueOptions {
  std::span<const KernelFile> files;
  uint32_t launches = 256;              ///< of one command buffer, which is then committed
  uint32_t in_flight = 8;               ///< command buffers that the device may have not yet ended
  uint64_t staging_bytes = 4ull << 20;  ///< for uploads behind queued launches
};

/// What the device has ended so far.
struct Work {
  uint64_t command_buffers = 0, launches = 0;
  double gpu_seconds = 0;
};

/// Launches are written into an open command buffer, which is committed when it is full or waited
/// for. Kernels reach memory by address, which Metal does not track: so a barrier stands between
/// any two dispatches, a fence between any two encoders, and the residency set holds all memory.
class MetalQueue final : public device::Queue {
 public:
  static Result<std::unique_ptr<MetalQueue>> open(const QueueOptions& options);
  ~MetalQueue() override;
  MetalQueue(const MetalQueue&) = delete;
  MetalQueue& operator=(const MetalQueue&) = delete;

  std::string name() const override;
  Memory memory() const override;
  Result<device::Address> allocate(uint64_t bytes) override;
  Status upload(device::Address to, std::span<const uint8_t> bytes) override;
  Status download(device::Address from, std::span<uint8_t> bytes) override;
  Status launch(const device::Launch& launch) override;
  Status wait() override;
  Status begin_recording() override;
  Result<uint32_t> end_recording() override;
  Status replay(uint32_t recording) override;

  Work work() const { return work_; }

 private:
  struct Block {
    Owned<Buffer> buffer;
    uint64_t bytes = 0;
  };
  struct Place {  // inside a block
    Buffer* buffer;
    uint64_t offset;
  };
  struct Kernel {
    std::string name;
    PipelineFacts facts;
  };
  struct Kept {  // a launch that was checked
    const Kernel* kernel;
    uint32_t groups_x, groups_y, group_size;
    std::vector<uint8_t> args;
  };
  struct Batch {  // a command buffer and what it holds
    Owned<Commands> commands;
    Launched kernels;
  };

  explicit MetalQueue(const QueueOptions& options) : options_(options) {}
  Status set_up();
  Status compile_all();
  Result<const Kernel*> kernel_of(std::string_view name);
  Result<Place> place_of(device::Address address, uint64_t bytes) const;

  /// The error that broke the queue, or that `what` may not be done while recording.
  Status usable(std::string_view what) const;
  Error fail(std::string message);

  bool busy() const { return open_.commands || !in_flight_.empty(); }
  Status open_batch();
  Result<ComputeEncoder*> computing();
  Status stage(const Place& to, std::span<const uint8_t> bytes);
  Status encode(const Kernel& kernel, uint32_t groups_x, uint32_t groups_y, uint32_t group_size,
                std::span<const uint8_t> args);
  void end_encoder();
  Status commit_batch();
  Status retire_oldest();
  Status drain();

  QueueOptions options_;
  DeviceFacts facts_;
  std::optional<Error> broken_;
  // Released from the last to the first.
  Owned<Device> device_;
  Owned<CommandQueue> queue_;
  Owned<Fence> fence_;
  Owned<ResidencySet> resident_;
  std::vector<Owned<Library>> libraries_;  // one per file of options_.files
  std::map<std::string, Kernel, std::less<>> kernels_;
  std::map<device::Address, Block> blocks_;
  std::vector<Buffer*> buffers_;    // of all blocks, in the order of allocation
  bool residency_changed_ = false;  // since the set was last committed
  Owned<Buffer> staging_;
  uint64_t staged_ = 0;  // bytes of it that queued copies read
  std::deque<Batch> in_flight_;
  Batch open_;
  Owned<ComputeEncoder> encoder_;  // of open_
  const Kernel* bound_ = nullptr;  // the encoder's pipeline
  bool ordered_ = false;           // an encoder has updated the fence
  size_t used_buffers_ = 0;        // of buffers_, that the encoder was told of
  std::vector<std::vector<Kept>> recordings_;
  bool recording_ = false;
  Work work_;
};

}  // namespace assay::metal
