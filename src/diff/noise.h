// The noise certificate: how far apart two correct runs under these contracts are, so that an
// observed difference can be ranked among theirs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "diff/side.h"
#include "op/program.h"

namespace assay::diff {

/// Distances between correct runs: half of the runs are under a's contract, half under b's, and in
/// each run every output is moved by up to one ulp at random. Each pair of runs gives one distance.
struct Noise {
  uint64_t runs = 0, tokens = 0;
  std::vector<std::vector<double>> relative;  ///< of each operation: √(Σ(a − b)²/Σ b²), ascending
  std::vector<double> divergence;             ///< mean KL of the logits, ascending

  /// The percentage of correct pairs that are closer together; −1 if there are no pairs.
  static double percentile(const std::vector<double>& sorted, double distance);
};

/// `tokens`: the prompt's beginning, at positions 0, 1, …, in one step.
Noise correct_runs(const op::Program& program, const Side& a, const Side& b,
                   std::span<const int32_t> tokens, uint64_t runs, uint64_t seed);

/// ln Σ e^x
double log_sum(std::span<const double> logits);
/// KL(b ‖ a) of two rows of logits: what is lost where a's distribution stands for b's. The sums
/// are log_sum(a) and log_sum(b).
double divergence(std::span<const double> a, std::span<const double> b, double log_sum_a,
                  double log_sum_b);

}  // namespace assay::diff
