// The calls to Metal that the queue makes, and no others. calls_metal.cpp makes them with
// metal-cpp; tests/device/metal/fake.cpp stands in for it where there is no Mac, so that the queue
// itself is the same there. Each does one thing: what follows what is the queue's part.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace assay::metal {

// Metal's objects: never looked into here.
struct Device;
struct CommandQueue;
struct Fence;
struct ResidencySet;
struct Buffer;
struct Library;
struct Pipeline;
struct Commands;  // a command buffer
struct ComputeEncoder;
struct CopyEncoder;

struct Release {
  void operator()(void* object) const;
};
template <class T>
using Owned = std::unique_ptr<T, Release>;

/// Null where the system has no GPU.
Owned<Device> default_device();

struct DeviceFacts {
  std::string name;             ///< "Apple M2 Pro"
  std::string system;           ///< "macOS 15.1.0"
  bool has_family = false;      ///< of the M1's family (Apple7) or later
  bool has_addresses = false;   ///< macOS 13 or later: gpuAddress, Metal 3.0
  uint64_t working_set = 0;     ///< bytes that it recommends to use at most
  uint64_t longest_buffer = 0;  ///< bytes
};
DeviceFacts facts_of(Device& device);
/// Bytes that this process holds on the device now.
uint64_t allocated_bytes(Device& device);

Owned<CommandQueue> make_command_queue(Device& device);
Owned<Fence> make_fence(Device& device);

/// What is in the set is resident in all commands of the queue. Null where the system has no such
/// sets (before macOS 15): there each encoder names its buffers.
Owned<ResidencySet> make_residency_set(Device& device, CommandQueue& queue);
void add(ResidencySet& set, Buffer& buffer);
/// What was added counts for commands committed after this.
void commit(ResidencySet& set);

/// Memory that host and device share. Null where there is none left.
Owned<Buffer> make_buffer(Device& device, uint64_t bytes);
uint64_t address_of(Buffer& buffer);
uint8_t* contents_of(Buffer& buffer);

struct Compiled {
  Owned<Library> library;  ///< null: `error` says why
  std::string error;       ///< what the compiler printed
};
/// Safe mathematics, Metal 3.0. `text` ends with a NUL.
Compiled compile(Device& device, std::string_view text);

struct PipelineFacts {
  Owned<Pipeline> pipeline;  ///< null: `error` says why
  std::string error;
  uint32_t most_threads = 0;  ///< of a group
  uint32_t simd_width = 0;
  uint32_t args_bytes = 0;  ///< of buffer 0; 0 where the kernel uses none
};
PipelineFacts make_pipeline(Device& device, Library& library, std::string_view kernel);

/// Keeps no references: what the commands use must outlive them. Null: the queue gives no more.
Owned<Commands> begin_commands(CommandQueue& queue);
void commit(Commands& commands);
/// Waits until committed commands have ended, well or not.
void wait(Commands& commands);

/// MTLCommandBufferError.
enum class Fault : int {
  none = 0,
  internal = 1,
  timeout = 2,
  page_fault = 3,
  access_revoked = 4,
  not_permitted = 7,
  out_of_memory = 8,
  invalid_resource = 9,
  device_removed = 11,
  stack_overflow = 12
};
struct Outcome {
  Fault fault = Fault::none;
  std::string text;        ///< the system's words
  double gpu_seconds = 0;  ///< from the commands' start to their end
};
/// Of commands that have ended.
Outcome outcome_of(Commands& commands);

// Encoders write commands: one at a time, ended before the next begins. Their order is kept by
// barriers inside a compute encoder and by the fence between encoders.

Owned<ComputeEncoder> begin_compute(Commands& commands);
void wait_for(ComputeEncoder& encoder, Fence& fence);
void use(ComputeEncoder& encoder, std::span<Buffer* const> buffers);
void set_pipeline(ComputeEncoder& encoder, Pipeline& pipeline);
/// The arguments of the next dispatches: buffer 0.
void set_args(ComputeEncoder& encoder, std::span<const uint8_t> bytes);
void dispatch(ComputeEncoder& encoder, uint32_t groups_x, uint32_t groups_y, uint32_t group_size);
/// What comes after sees all that the dispatches before it wrote.
void barrier(ComputeEncoder& encoder);
void update(ComputeEncoder& encoder, Fence& fence);
void end(ComputeEncoder& encoder);

Owned<CopyEncoder> begin_copy(Commands& commands);
void wait_for(CopyEncoder& encoder, Fence& fence);
/// Offsets and bytes are multiples of 4.
void copy(CopyEncoder& encoder, Buffer& from, uint64_t from_offset, Buffer& to, uint64_t to_offset,
          uint64_t bytes);
void update(CopyEncoder& encoder, Fence& fence);
void end(CopyEncoder& encoder);

}  // namespace assay::metal
