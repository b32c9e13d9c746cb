// Names the cause of a failing operation: the judge computes it again with one thing altered, and
// reports the alteration that reproduces what the engine gave. Shares no code with src/fault, whose
// faults it must find.
#pragma once

#include "base/result.h"
#include "diagnose/case.h"

namespace assay::diagnose {

/// The cause of the failure at `step` and `operation` of a judged trace; "unknown" where no
/// hypothesis reproduces it. Errors: as scene_at.
Result<Cause> diagnose(const op::Program& program, const trace::Trace& trace,
                       const diff::Side& side, uint32_t step, size_t operation);

/// The same for a failure that closes a segment: the hypotheses of every operation in it, each
/// carried on to the recorded output that fails. Errors: as scene_at.
Result<Cause> diagnose_segment(const op::Program& program, const trace::Trace& trace,
                               const diff::Side& side, const diff::Failure& failure);

/// The same for one operation without a trace around it: hypotheses that need other tensors or
/// steps are left out.
Cause diagnose(const op::Program& program, diff::Scene scene);

/// Fills in the report's cause. A failure whose cause is benign is noted as such and passes; then
/// the next one counts. Errors: as scene_at.
Status explain(const op::Program& program, const trace::Trace& a, const trace::Trace& b,
               diff::Report& report);

}  // namespace assay::diagnose
