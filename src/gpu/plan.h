// What a device runs for a program: a list of nodes, each of one or a few kernels. The fused plan
// gives the same bits as the plain one: a fused kernel makes the same sums in the same order, and
// keeps in registers what no other node reads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "op/program.h"

namespace assay::gpu {

/// The quantised activations are kept in a slot for the matmuls that read them. Two slots are
/// needed, since gate_up reads one and writes another.
inline constexpr uint32_t quantised_slots = 2;

struct Node {
  enum class Form {
    plain,          ///< the operation's own kernel
    quantise,       ///< value → slot
    multiply,       ///< up to three matmuls of one input; `add`: the residual's add in the last
    gate_up,        ///< matmul, matmul, gate and quantise → slot
    rope_store,     ///< rope, rope, kv_store
    group_experts,  ///< routing → places by expert, where a step has many tokens
  } form = Form::plain;
  std::vector<uint32_t> operations{};  ///< what it computes, in the program's order
  uint32_t value = op::none;           ///< quantise: its input; group_experts: the routing
  uint32_t experts = 0;                ///< group_experts: of how many
  uint32_t add = op::none;             ///< multiply: the add operation
  uint32_t from = 0, to = 0;      ///< slots of quantised activations, where it reads or writes any
  bool writes_value = true;       ///< norms and attention: the f32 form is read
  bool writes_quantised = false;  ///< norms and attention: the quantised form is read
};

/// True where a product, of experts too, reads its input 0 as int8 activations.
bool reads_quantised(const op::Program& program, const op::Operation& operation);

/// If `fused` is false, the plan has one node per operation and every value is written, as a trace
/// needs it.
std::vector<Node> make_plan(const op::Program& program, bool fused);

/// The plan as text: one line per node with its form, its operations and what it writes, as f32 or
/// int8 (quantised). Neighbouring layers with equal lines are shown once.
std::string text_of_plan(const op::Program& program, const std::vector<Node>& nodes);

}  // namespace assay::gpu
