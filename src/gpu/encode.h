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
  uint32_t most_keys = 0;       ///< that a token sees; 0: any number, as in a recording
  bool sequence_tiles = false;  ///< each eight tokens are of one sequence
  bool split_heads = false;     ///< few tokens, one of many keys: several groups share a head
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
  /// Keys and values of the step's positions, as f32, to scratch: for traces.
  Status load_cache(const op::Operation& store) const;
  /// The `k` best of each row of logits, as keys of top_k to memory.best[0].
  Status best(uint32_t logits, uint32_t k) const;
  /// Draws each row's token from the `k` best, and makes it the next step's.
  Status sample(uint32_t k) const;
  uint32_t rows(uint32_t value) const;
  device::Address buffer(uint32_t value) const;

 private:
  struct Plain;
  Status plain(const Node& node) const;
  Status quantise(const Node& node) const;
  Status multiply(const Node& node, const std::vector<uint32_t>& operations, uint32_t add) const;
  Status gate_up(const Node& node) const;
  Status rope_store(const Node& node) const;
  template <class Kernel>
  Status pair(const Kernel& kernel, const op::Operation& operation, uint32_t activation = 0) const;
  Status attention(const Node& node) const;
  Status split_attention(const AttentionArgs& args) const;
  Status norm(const Node& node) const;
  CacheView cache(uint32_t index) const;
  const float* rope_table(uint32_t table) const;
  /// device::launch_of() of these; nothing where the grid is empty.
  template <class Kernel, class... ThreadsAndArgs>
  Status launch(const Kernel& kernel, uint32_t groups_x, uint32_t groups_y,
                const ThreadsAndArgs&... rest) const;
};

}  // namespace assay::gpu
