// How to record one more output, so that a segment that fails becomes a shorter one.
#pragma once

#include <optional>
#include <string>

#include "diff/diff.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::diff {

/// nullopt where the first failure closes no segment. `model` is the path of the model that the
/// trace was judged by; the command takes the one that the trace names, where it names one.
std::optional<Narrow> narrow(const op::Program& program, const trace::Trace& trace,
                             const Report& report, const std::string& model);

}  // namespace assay::diff
