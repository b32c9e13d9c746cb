// A segment of a trace: operations that were not recorded, between recorded ones. What an altered
// output in it leads to, to find out which of them is wrong.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "diff/lockstep.h"
#include "diff/side.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::diff {

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
  /// The recorded output that fails, as it would be where this operation gave `output`: (rows,
  /// width), in its usual limits.
  Judged carried(size_t operation, const Table& output) const;
  /// The same where these operations, and what follows them, were another program's, which has the
  /// same operations with other parameters.
  Judged carried(const op::Program& altered, std::span<const size_t> operations) const;
  const Scene& closing() const { return closing_; }
  /// What the recorded output should be.
  const Judged& expected() const { return expected_; }
  /// The same of the step's first tokens alone. Not where the recorded output is of selected ones.
  Segment first(uint64_t tokens) const;

 private:
  Segment(const op::Program& program, const Side& side, const Failure& failure, Lockstep base)
      : program_(&program), side_(&side), failure_(&failure), base_(std::move(base)) {}

  Judged carry(Lockstep run, std::span<const size_t> operations, const Table* output) const;

  const op::Program* program_;
  const Side* side_;
  const Failure* failure_;
  Lockstep base_;    // one run: all that the segment reads, as recorded or computed
  Scene closing_;    // the recorded output that fails
  Judged expected_;  // what it should be
};

}  // namespace assay::diff
