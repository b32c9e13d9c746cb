// Which rotation an output meets: in whose order of lanes another engine may have it.
#pragma once

#include "op/program.h"

namespace assay::diff {

/// The rotary operation whose output this is, or that reads it, be it after others that keep each lane
/// in its place (the norm of queries and keys); nullptr where there is none.
const op::Operation* rope_of(const op::Program& program, const op::Operation& operation);

/// The lanes of a head of the rotary operation.
uint32_t head_of(const op::Program& program, const op::Operation& rope);

}  // namespace assay::diff
