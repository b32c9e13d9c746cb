#include "diff/lanes.h"

namespace assay::diff {

/// What keeps each lane in its place.
static bool keeps_lanes(const op::Operation& operation) {
  return operation.is<op::RmsNorm>() || operation.is<op::LayerNorm>() ||
         operation.is<op::Clamp>() || operation.is<op::PositionScale>();
}

/// The first rotary operation that reads this value, be it through others that keep the lanes.
static const op::Operation* reader(const op::Program& program, uint32_t value) {
  for (const op::Operation& operation : program.operations) {
    if (operation.inputs.empty() || operation.inputs[0] != value) continue;
    if (operation.is<op::Rope>()) return &operation;
    if (!keeps_lanes(operation)) continue;
    if (const op::Operation* found = reader(program, operation.output)) return found;
  }
  return nullptr;
}

const op::Operation* rope_of(const op::Program& program, const op::Operation& operation) {
  if (operation.is<op::Rope>()) return &operation;
  if (operation.output == op::none || operation.layer == op::none) return nullptr;
  return operation.is<op::Matmul>() || keeps_lanes(operation) ? reader(program, operation.output)
                                                              : nullptr;
}

uint32_t head_of(const op::Program& program, const op::Operation& rope) {
  return program.values[rope.output].width / rope.as<op::Rope>()->heads;
}

}  // namespace assay::diff
