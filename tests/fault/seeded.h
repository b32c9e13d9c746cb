// Faults at drawn places, each in a model that can have it: kjv, or one that has every kind of
// operation.
#pragma once

#include <algorithm>
#include <string_view>

#include "fault/harness.h"
#include "fault/loud.h"
#include "reference/mixed_model.h"

namespace assay::fault {

inline const op::Program& mixed_program() {
  static const tests::MixedModel model;
  return model.program;
}

struct SeededFault {
  const op::Program& program;
  Fault fault;
  uint32_t prompt;  ///< tokens of the first step
};

/// `kjv_program` is kjv's, as the caller has it.
inline SeededFault seeded(std::string_view name, uint64_t seed, const op::Program& kjv_program,
                          uint32_t prompt) {
  static const Loud loud(kjv_program, 2, 1e5f), louder(kjv_program, 2, 1e8f);
  auto fault = draw(name, seed, kjv_program);
  const op::Program* program = &kjv_program;
  if (!fault) {
    program = &mixed_program();
    fault = draw(name, seed, *program);
    if (!fault) throw std::runtime_error(fault.error().message);
  }
  if (fault->bug == Bug::value_sums_f16) {  // where large values are summed
    program = &mixed_program();
    fault->at = "blk.3.kqv";
  } else if (fault->bug == Bug::f16_scale_overflow) {  // beyond 127·65504
    program = &louder.program();
    fault->at = seed % 2 ? "blk.2.gate" : "blk.2.up";
  } else if (fault->needs().large_values) {
    program = &loud.program();
    fault->at = loud_place(seed);
  }
  return {*program, *fault, std::max(prompt, fault->needs().tokens)};
}

}  // namespace assay::fault
