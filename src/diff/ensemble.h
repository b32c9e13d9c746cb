// What correct runs of a model give: the RMS and the largest element of each operation's rows. With
// it, a trace's growth through the layers can be called normal, or the first layer that no correct
// run gives can be named. It needs only statistics of the trace, not its values.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "judge/table.h"
#include "op/program.h"
#include "trace/summary.h"

namespace assay::diff {

struct Range {
  double low = 0, high = 0;
  bool holds(double x) const { return x >= low && x <= high; }
};

/// The ranges of correct runs: their mean plus or minus `deviations` standard deviations, plus
/// 2^-20 for f32 sums. A row's deviation is relative, and no less than the mean square of those of
/// the operation's other tokens: eight runs may happen to lie close together in one of some
/// thousand rows, but not in all.
struct Ensemble {
  uint64_t runs = 0, tokens = 0;
  std::vector<std::vector<Range>> rms, largest;  ///< (operations, tokens); empty for kv_store
  std::vector<Range> growth;  ///< of each layer: RMS(blk.N.out)/RMS(embd) over all tokens
};
/// The worst row of 23 traces of correct engines lay 7.4 away (two models, five engines, some 10^4
/// rows each: the tails are heavier than a normal distribution's).
inline constexpr double deviations = 10;

/// Called with an operation's output in some correct runs, (runs·tokens, width); empty for kv_store.
using SeeOutput = std::function<void(size_t operation, const judge::Table& output, uint64_t runs)>;
/// Makes at least `runs` runs, equally many under each contract except exact (judge/coding.h), of
/// `tokens` at positions 0, 1, …. Short prompts get more runs, so that each operation has at least
/// 64 rows. Those of a contract come together, operation by operation. Returns how many were made.
/// With fewer than 24 `bits` (runs.h) all are under f32.
uint64_t visit_correct_runs(const op::Program& program, std::span<const int32_t> tokens,
                            uint64_t runs, uint64_t seed, const SeeOutput& see, int bits = 24);
Ensemble correct_ensemble(const op::Program& program, std::span<const int32_t> tokens,
                          uint64_t runs, uint64_t seed);

/// A row outside the range of all correct runs: the worst token of the operation.
struct Outside {
  size_t operation = 0;
  uint64_t token = 0;
  std::string what;  ///< "RMS", "max|x|", "NaN", "infinities", "growth" (of all tokens)
  double got = 0;
  Range range;
};

/// A trace against the ensemble.
struct Growth {
  std::vector<double> layers;  ///< RMS(blk.N.out)/RMS(embd) over the ensemble's tokens; NaN unknown
  std::optional<Outside> first;  ///< in the program's order
  uint64_t rows = 0;             ///< that were compared
  std::string sentence;
};
Growth judge_growth(const op::Program& program, const trace::TokenLines& lines,
                    const Ensemble& ensemble);

/// Where two traces differ more than any two correct runs do, as the ratio of their RMS (or
/// max|x|).
struct Parting {
  size_t operation = 0;
  uint64_t token = 0;
  std::string what;
  double a = 0, b = 0;
  Range range;  ///< of a/b
};
struct Partings {
  std::optional<Parting> first;  ///< in the program's order
  uint64_t rows = 0;             ///< that were compared
  std::string sentence;
};
Partings judge_parting(const op::Program& program, const trace::TokenLines& a,
                       const trace::TokenLines& b, const Ensemble& ensemble);

}  // namespace assay::diff
