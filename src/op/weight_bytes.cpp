#include "op/weight_bytes.h"

#include <algorithm>
#include <set>

namespace assay::op {

bool WeightBytes::by_routing() const {
  return std::ranges::any_of(program_.operations,
                             [](const Operation& o) { return o.is<MatmulExperts>(); });
}

void WeightBytes::see(const Operation& operation, std::span<const float> output) {
  const auto* router = operation.as<Route>();
  if (!router) return;
  std::set<float> ids;
  for (size_t row = 0; row < output.size(); row += 2 * size_t(router->used))
    for (const float id : output.subspan(row, router->used)) ids.insert(id);
  chosen_[operation.output] = ids.size();
}

uint64_t WeightBytes::of_step() const {
  uint64_t bytes = 0;
  for (const Operation& operation : program_.operations) {
    if (!multiplies(operation)) continue;
    const uint64_t whole = program_.weights[operation.weight].data.size();
    const auto* experts = operation.as<MatmulExperts>();
    if (!experts) {
      bytes += whole;
    } else if (const auto chosen = chosen_.find(operation.inputs[1]); chosen != chosen_.end()) {
      bytes += whole / experts->experts * chosen->second;
    }
  }
  return bytes;
}

}  // namespace assay::op
