// Several runs of a model that are all correct: one contract's arithmetic in f64, with every output
// moved by up to an ulp at random.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "diff/side.h"
#include "op/program.h"
#include "reference/operations.h"

namespace assay::diff {

/// Runs of one contract in lockstep: rows are (runs, tokens).
class CorrectRuns {
 public:
  /// `side` says contract and codings; it and `program` must outlive this. `tokens` stand at
  /// positions 0, 1, …, in one step, and the logits of all are wanted.
  CorrectRuns(const op::Program& program, const Side& side, std::span<const int32_t> tokens,
              uint64_t runs, uint64_t seed);

  /// The operation's output, (runs·tokens, width); empty for kv_store. Call for each of the
  /// program's operations in turn.
  const reference::Table& run(size_t index);
  void forget(uint32_t value) { values_[value] = {}; }

 private:
  uint64_t tokens() const { return step_.tokens.size(); }
  reference::Table part(const reference::Table& all, uint64_t run) const;
  reference::Table by_run(const op::Operation& operation);
  void store(const op::Operation& operation, uint64_t run);
  void perturb(reference::Table& out, size_t index, const op::Operation& operation) const;

  const op::Program& program_;
  const Side& side_;
  const uint64_t runs_, seed_;
  trace::TraceStep step_;
  std::vector<reference::Table> values_;
  std::vector<Caches> caches_;  // of each run
};

}  // namespace assay::diff
