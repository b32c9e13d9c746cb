// What of a program a trace has: the segments of operations that were not recorded between recorded
// ones.
#pragma once

#include <cstddef>
#include <vector>

#include "diff/side.h"
#include "op/program.h"

namespace assay::diff {

/// Whether a trace has what the operation gives. What only moves values never counts as recorded.
bool was_recorded(const op::Program& program, const Side& side, size_t operation);
/// The operations that were not recorded and that reach this one through none that was.
std::vector<size_t> segment_of(const op::Program& program, const Side& side, size_t operation);
/// All that were recorded and that this one or its segment reads, in the program's order.
std::vector<size_t> opening(const op::Program& program, const Side& side, size_t operation);
/// The operation of a segment that divides it best when it is recorded, too; op::none where the engine
/// can give none of them.
size_t next_to_record(const op::Program& program, const Side& side,
                      const std::vector<size_t>& segment);
/// What was not recorded is judged with what was and reads it: verdicts of the others are settled.
void settle_segments(const op::Program& program, Side& side);

}  // namespace assay::diff
