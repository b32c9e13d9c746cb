// The sizes that correct runs of a model give, to hold a log's numbers against.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "diff/ensemble.h"
#include "diff/moments.h"
#include "judge/table.h"
#include "op/program.h"
#include "trace/text_log.h"

namespace assay::diff {

/// What correct runs give: the sizes of each operation's output, of each token and of all of them
/// (the last row), and the last token's logits.
class CorrectSizes {
 public:
  /// Of `followed` operations every run's sizes are kept.
  CorrectSizes(const op::Program& program, uint64_t tokens, const std::set<size_t>& followed);

  /// What visit_correct_runs calls.
  void see(size_t operation, const judge::Table& out, uint64_t runs);

  /// Mean ± `deviations` standard deviations and 2^-20 for f32 sums, both of the statistic's own
  /// scale: a mean or a minimum may be 0. As in an Ensemble a token's relative deviation is no less
  /// than that of the operation's other tokens.
  Range range(size_t operation, uint64_t row, trace::LogColumn column) const;

  /// Of the ratio of a size to that of an earlier operation in the same run. Where one channel is
  /// much larger than all others, runs differ in its size, but hardly in how it goes on. None where
  /// either is not followed.
  std::optional<Range> ratio(size_t earlier, size_t operation, uint64_t row,
                             trace::LogColumn column) const;

  /// Logits of one row are off by similar amounts, whatever their size.
  std::vector<Range> logits() const;

 private:
  static constexpr size_t statistics = 8;
  using Sizes = std::array<double, statistics>;
  using Row = std::array<Moments, statistics>;
  struct Sums;

  void add(size_t operation, uint64_t row, const Sums& sums);

  const uint64_t tokens_;
  const size_t last_;
  std::vector<std::vector<Row>> sizes_;                     // (operations, tokens + 1)
  std::map<size_t, std::vector<std::vector<Sizes>>> kept_;  // (operation; tokens + 1, runs)
  std::vector<Moments> logits_;
};

}  // namespace assay::diff
