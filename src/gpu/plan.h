// What a device runs for a program: nodes, each one kernel or a few, in order. The fused plan gives
// the bits of the plain one: a fused kernel makes the same sums in the same order and keeps what
// nobody else reads in registers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "op/program.h"

namespace assay::gpu {

/// One quantised row of activations is kept for the matmuls that read it; gate_up reads one and
/// writes another.
inline constexpr uint32_t quantised_slots = 2;

struct Node {
  enum class Form {
    plain,       ///< the operation's own kernel
    quantise,    ///< value → slot
    multiply,    ///< up to three matmuls of one input; `add`: the residual's add in the last
    gate_up,     ///< matmul, matmul, gate and quantise → slot
    rope_store,  ///< rope, rope, kv_store
  } form = Form::plain;
  std::vector<uint32_t> operations{};  ///< what it computes, in the program's order
  uint32_t value = op::none;           ///< quantise: its input
  uint32_t add = op::none;             ///< multiply: the add operation
  uint32_t from = 0, to = 0;      ///< slots of quantised activations, where it reads or writes any
  bool writes_value = true;       ///< rms_norm and attention: its f32 form is read
  bool writes_quantised = false;  ///< rms_norm and attention: its quantised form is read
};

/// True where a matmul reads int8 activations.
bool reads_quantised(const op::Program& program, const op::Operation& operation);

/// `fused` false: a node an operation, every value written, as a trace needs it.
std::vector<Node> make_plan(const op::Program& program, bool fused);

/// The plan for people: a line a node with its form, its operations and what it writes, as f32 or
/// int8 (quantised). Neighbouring layers of equal lines are shown once.
std::string text_of_plan(const op::Program& program, const std::vector<Node>& nodes);

}  // namespace assay::gpu
