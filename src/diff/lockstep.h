// Several runs of a program in lockstep, in f64 under one contract, step after step: what each
// operation gives from what it is given in each run. Outputs can be altered or replaced on the way.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "judge/judge.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::diff {

/// Whether an operation reads one of the marked values, or a marked cache.
bool reads_any(const op::Operation& operation, const std::vector<bool>& values,
               const std::vector<bool>& caches);

class Lockstep {
 public:
  /// `coding_of` says how the activations of a product are coded.
  using CodingOf = std::function<judge::Coding(size_t operation)>;

  /// `program` must outlive it.
  Lockstep(const op::Program& program, const judge::Arithmetic& arithmetic, CodingOf coding_of,
           uint64_t runs);

  uint64_t runs() const { return caches_.size(); }
  /// Values are forgotten, caches stay.
  void begin(const trace::TraceStep& step);
  /// What the operation gives, run after run: (runs·rows, width). Its inputs must be there. Not for
  /// kv_store.
  judge::Table compute(size_t operation) const;
  /// The same of one run: (rows, width).
  judge::Table compute(size_t operation, uint64_t run) const;
  /// A value in all runs, run after run; the same one in each.
  void put(uint32_t value, judge::Table all) { values_[value] = std::move(all); }
  void give(uint32_t value, const judge::Table& one);
  const judge::Table& at(uint32_t value) const { return values_[value]; }
  void forget(uint32_t value) { values_[value] = {}; }
  /// Another step, which has some of this one's rows: `cut` takes them from each value of one run.
  void cut(const trace::TraceStep& step, const std::function<void(judge::Table&)>& cut);
  /// kv_store: stores what each run has; or in each run the same, keys and values side by side.
  void store(size_t operation);
  void store(size_t operation, const judge::Table& both);
  /// From now on by another program of the same operations, which must outlive it.
  void follow(const op::Program& program) { program_ = &program; }
  void set_caches(const judge::Caches& caches);
  const judge::Caches& caches(uint64_t run) const { return caches_[run]; }
  judge::Coding coding_of(size_t operation) const { return coding_of_(operation); }

 private:
  judge::Table part(uint32_t value, uint64_t run) const;
  void store(const op::Operation& operation, const judge::Table& both, uint64_t run);

  const op::Program* program_;
  judge::Arithmetic arithmetic_;
  CodingOf coding_of_;
  trace::TraceStep step_;
  std::vector<judge::Table> values_;
  std::vector<judge::Caches> caches_;  // of each run
};

}  // namespace assay::diff
