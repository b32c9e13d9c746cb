// Correct runs of a program under a trace's contract, in f64, several in lockstep. Their outputs
// may be altered on the way. The noise certificate and the causal swap are built on this.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "diff/lockstep.h"
#include "diff/side.h"
#include "op/program.h"

namespace assay::diff {

/// One step of `tokens`, at positions 0, 1, …, in each run. Rows of values are (runs, tokens).
class Runs {
 public:
  /// Called with every output, (runs·tokens, width), or (runs·selected, width) after select_rows.
  /// It may change the output; later operations read the changed values.
  using Alter = std::function<void(size_t operation, judge::Table& out)>;

  /// `program` and `side` (its codings and its arithmetic) must outlive the runs.
  Runs(const op::Program& program, const Side& side, std::span<const int32_t> tokens,
       std::vector<uint32_t> selected, uint64_t runs, Alter alter);

  /// Operations in the program's order, from 0 on. The output; empty for kv_store.
  const judge::Table& run(size_t operation);
  void forget(uint32_t value) { runs_.forget(value); }
  /// All operations; the last one's output.
  judge::Table run_all();

 private:
  const op::Program& program_;
  Lockstep runs_;
  Alter alter_;
  judge::Table nothing_;
};

/// Makes `runs` runs that are all correct: each output is rounded to f32 and moved by one ulp up,
/// one ulp down or not at all (by half an ulp of the type that its sums are in), and then rounded to
/// the type that its contract gives the result. The logits of all tokens are computed. With fewer
/// than 24 `bits` each output is rounded to so many significant ones, as by an engine that keeps its
/// results in bf16 (8) or f16 (11).
Runs correct(const op::Program& program, const Side& side, std::span<const int32_t> tokens,
             uint64_t runs, uint64_t seed, int bits = 24);

}  // namespace assay::diff
