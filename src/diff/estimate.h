// What a trace does not have, computed by the judge from what it has, and how far from it a correct
// engine may be: a segment between recorded outputs is judged as one.
//
// The first of the runs is the judge's own; in the others every computed output is moved, each
// element by a random share of what its operation's bound allows. How far the runs spread where the
// next recorded output stands is what the errors inside the segment can grow to there. In coarse types a
// value near the middle of two neighbours may be either: a few more runs have all at such ends.
#pragma once

#include <cstdint>
#include <vector>

#include "diff/lockstep.h"
#include "judge/judge.h"

namespace assay::diff {

class Estimate {
 public:
  /// `program` must outlive it. Without moved runs there is no spread.
  Estimate(const op::Program& program, const judge::Arithmetic& arithmetic,
           Lockstep::CodingOf coding_of, bool moved_runs);

  void begin(const trace::TraceStep& step);
  /// The value as the trace has it: from here on it is exact.
  void know(uint32_t value, const judge::Table& recorded);
  /// Whether an operation reads something that was computed.
  bool reads_computed(const op::Operation& operation) const;
  /// Computes an output that the trace lacks; `judged` is what the judge makes of the first run's
  /// inputs. Returns the first run's.
  judge::Table compute(size_t operation, const judge::Judged& judged);
  /// The same where an operation is wrong: `judged` is what it gives then. The runs lie as far apart
  /// as `altered` makes them, which is the program, or has the same operations with other parameters.
  judge::Table replace(size_t operation, const judge::Judged& judged, const op::Program& altered);
  /// How far correct runs lie around what the judge computes for an operation that reads computed
  /// values, (rows, width).
  judge::Table spread(size_t operation) const;
  /// kv_store, from what the runs have, or as the trace has it.
  void store(size_t operation);
  void store(size_t operation, const judge::Table& recorded);
  void forget(uint32_t value) { runs_.forget(value); }
  void set_caches(const judge::Caches& caches) { runs_.set_caches(caches); }
  /// Those of the first run.
  const judge::Caches& caches() const { return runs_.caches(0); }

 private:
  judge::Table move(size_t operation, const judge::Judged& judged);

  const op::Program& program_;
  const judge::Arithmetic arithmetic_;
  Lockstep runs_;
  std::vector<bool> computed_, computed_cache_;
  uint64_t steps_ = 0;
};

}  // namespace assay::diff
