// The two proofs of a step: every element is inside the judge's bound, and every bit equals that of
// another run.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "judge/replay.h"
#include "verify/case.h"

namespace assay::verify {

/// Several replays of one run, one per thread, which share the operations among them.
class Judge {
 public:
  Judge(const Case& one, const op::ExecutorOptions& options, uint32_t threads);
  void step(const Step& step, const StepOutputs& outputs);
  /// In the program's order.
  std::vector<judge::OperationError> results() const;

 private:
  const op::Program& program_;
  std::vector<judge::Replay> replays_;
};

/// Where bits first differ: element `row` of token `token` of the case.
struct Difference {
  size_t operation = 0;
  uint64_t token = 0, row = 0, count = 0;
  float got = 0, want = 0;
};

/// The outputs of a run that took all tokens in one step, to compare the bits of other runs with.
/// Any NaN equals any other NaN, since payloads differ between instruction sets (the judge fails
/// NaN).
class Bits {
 public:
  Bits(const Case& one, op::Executor& executor);
  /// Differences by operation, in the program's order; none: all bits are equal.
  std::vector<Difference> compare(const Step& step, const StepOutputs& outputs) const;

 private:
  const Case& case_;
  Step whole_;
  StepOutputs outputs_;
  std::vector<uint64_t> selected_;  ///< by token: its row after select_rows
};

}  // namespace assay::verify
