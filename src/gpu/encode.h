// From a node of the plan to launches.
#pragma once

#include "device/queue.h"
#include "gpu/memory.h"
#include "gpu/plan.h"

namespace assay {
struct AttentionArgs;  // kernel/attention.h
struct SampleRule;     // kernel/sample.h
}  // namespace assay

namespace assay::gpu {

/// Sizes of a step, and where its inputs lie in device memory.
struct StepShape {
  uint32_t tokens = 0, selected = 0;
  uint32_t most_keys = 0;       ///< most keys that a token sees; 0: any number, as in a recording
  bool sequence_tiles = false;  ///< each aligned group of eight tokens belongs to one sequence
  bool split_heads = false;     ///< few tokens see many keys: several workgroups share a head
  StepInputs inputs{};
  const SampleRule* rules = nullptr;  ///< where tokens are drawn: by row
  const float* rope_ahead = nullptr;  ///< (steps, as StepInputs::rope)
};

struct Encoder {
  device::Queue& queue;
  const op::Program& program;
  const DeviceMemory& memory;
  bool cache_f32;
  StepShape shape;

  Status node(const Node& node) const;
  /// Copies the keys and values of the step's positions to scratch, as f32, for traces.
  Status load_cache(const op::Operation& store) const;
  /// Finds the `k` best logits of each row and writes them to memory.best[0], as keys of the kernel
  /// top_k.
  Status best(uint32_t logits, uint32_t k) const;
  /// Draws one token per row from the `k` best, and makes it the input of the next step.
  Status sample(uint32_t k) const;
  uint32_t rows(uint32_t value) const;
  device::Address buffer(uint32_t value) const;
  const float* vector(uint32_t weight) const;  ///< null for none

 private:
  struct Plain;
  Status plain(const Node& node) const;
  Status quantise(const Node& node) const;
  Status multiply(const Node& node, const std::vector<uint32_t>& operations, uint32_t add) const;
  Status gate_up(const Node& node) const;
  Status rope_store(const Node& node) const;
  Status gate(const op::Operation& operation) const;
  Status attention(const Node& node) const;
  Status split_attention(const AttentionArgs& args, bool special) const;
  template <class Args, class Kernel>
  Status norm(const Node& node, const Kernel& kernel, float eps) const;
  Status group_experts(const Node& node) const;
  Status multiply_experts(const Node& node) const;
  uint32_t experts_used(uint32_t routing) const;
  CacheView cache(uint32_t index) const;
  const float* rope_table(uint32_t table) const;
  /// Queues the launch; does nothing if the grid is empty.
  template <class Kernel, class... ThreadsAndArgs>
  Status launch(const Kernel& kernel, uint32_t groups_x, uint32_t groups_y,
                const ThreadsAndArgs&... rest) const;
};

}  // namespace assay::gpu
