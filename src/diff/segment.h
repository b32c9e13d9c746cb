// A segment of a trace: operations that were not recorded, between recorded ones. What an altered
// output in it leads to, to find out which of them is wrong.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "diff/lockstep.h"
#include "diff/side.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::diff {

/// Operations of a segment that are wrong.
struct Altered {
  std::span<const size_t> operations;
  const Judged* output = nullptr;        ///< what it gives, where it is one
  const op::Program* program = nullptr;  ///< else: they have its parameters
};

class Segment {
 public:
  /// That which the failure closes. All arguments must outlive it. Errors: as scene_at.
  static Result<Segment> open(const op::Program& program, const trace::Trace& trace,
                              const Side& side, const Failure& failure);

  /// What was not recorded, in the program's order.
  const std::vector<size_t>& operations() const { return failure_->segment; }
  /// An operation of the segment, computed from what was recorded before it. Its output is what it
  /// should be.
  Scene scene(size_t operation) const;
  /// The recorded output that fails, as it would be under an alteration, in its usual limits.
  Judged carried(const Altered& altered) const;
  /// The same in the limits of correct engines with the alteration: how far its errors can grow is
  /// measured anew (estimate.h). It takes some twenty times as long.
  Judged judged(const Altered& altered) const;
  /// The operation that closes it, altered: what it reads is as uncertain as it is.
  Judged closed(Judged altered) const;
  const Scene& closing() const { return closing_; }
  /// What the recorded output should be.
  const Judged& expected() const { return expected_; }
  /// The same of the step's first tokens alone. Not where the recorded output is of selected ones.
  Segment first(uint64_t tokens) const;

 private:
  Scene reading(size_t operation, const std::function<const Table&(uint32_t value)>& at,
                const Caches& caches) const;
  Segment(const op::Program& program, const Side& side, const Failure& failure, Lockstep base)
      : program_(&program), side_(&side), failure_(&failure), base_(std::move(base)) {}

  const op::Program* program_;
  const Side* side_;
  const Failure* failure_;
  Lockstep base_;    // one run: all that the segment reads, as recorded or computed
  Scene closing_;    // the recorded output that fails
  Judged expected_;  // what it should be
};

}  // namespace assay::diff
