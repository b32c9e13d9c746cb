// How much of a device's memory a program takes, planned before anything is allocated, and where
// its data lies.
#pragma once

#include <vector>

#include "device/queue.h"
#include "kernel/args.h"
#include "op/executor.h"
#include "op/program.h"

namespace assay::gpu {

struct MemoryPlan {
  uint64_t weights = 0, cache = 0, work = 0;
  uint64_t total() const { return weights + cache + work; }
};
MemoryPlan plan_memory(const op::Program& program, const op::ExecutorOptions& options);

/// Addresses of all that a program reads and writes.
struct DeviceMemory {
  std::vector<device::Address> packed;   // by weight: matrices and tables; 0 where nobody reads it
  std::vector<device::Address> vectors;  // by weight: norms and biases as f32
  std::vector<device::Address> slopes;   // by operation: ALiBi's of each head; 0: none
  std::vector<device::Address> buffers;  // by the program's buffer: (batch, width)
  Quantised quantised[2];                // slots, as wide as the widest that is quantised
  // By cache of the program: some devices limit an allocation's size.
  std::vector<device::Address> keys, values;
  device::Address table = 0;  // the page table: (sequences, groups, stride); 0: no cache
  uint32_t stride = 0;        // chunks of 64 positions in a context
  uint32_t groups = 1;        // of caches
  device::Address step = 0;   // what a step uploads
  uint64_t step_bytes = 0;
  device::Address scratch = 0;  // (batch, keys and values of a cache): for traces
  device::Address chunk_outputs = 0, chunk_softmax = 0;  // of attention_chunks
  device::Address best[2] = {0, 0};  // keys of top_k by sequence, read and written in turns
  device::Address drawn = 0;         // (most_drawn, sequences)
  device::Address places = 0, expert_tiles = 0;  // of group_experts
};

/// Floats per token for the cos and sin of every rotary table, one table after the other.
uint32_t rope_width(const op::Program& program);

/// Allocates the memory and uploads the weights. Errors: too little memory (with the plan in
/// numbers), and what the queue refuses.
Result<DeviceMemory> allocate(device::Queue& queue, const op::Program& program,
                              const op::ExecutorOptions& options);

/// Writes `value` into every place of the caches, used or not. Errors: what the queue refuses.
Status fill_caches(device::Queue& queue, const op::Program& program,
                   const op::ExecutorOptions& options, const DeviceMemory& memory, float value);

/// A device address as the pointer that arguments hold.
template <class T>
T* pointer(device::Address address) {
  return reinterpret_cast<T*>(address);
}

}  // namespace assay::gpu
