// Pages of the cache: how many each group of caches has, and which the sequences of a step use. A
// group without a window keeps the pages of all positions. A windowed group keeps those that a step
// sees which begins where the present one's first page does; what lies before is given back.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "op/executor.h"
#include "op/program.h"

namespace assay::op {

/// How many pages hold `positions` positions of one sequence.
constexpr uint32_t pages_for(uint32_t positions) {
  return positions / page_positions + (positions % page_positions ? 1 : 0);
}

/// The first chunk of 64 positions that a sequence which goes on from `position` keeps: that of the
/// first key which a query at the beginning of this position's page sees. 0 where window is 0.
constexpr uint32_t first_kept(uint32_t window, uint32_t position) {
  const uint32_t chunk = position / page_positions;
  const uint32_t before = window ? pages_for(window - 1) : chunk;
  return chunk > before ? chunk - before : 0;
}

/// The most pages that one sequence holds in a group with this window.
uint32_t pages_of_sequence(const ExecutorOptions& options, uint32_t window = 0);
/// Pages that an executor with these options has for a group with this window.
uint32_t pages_of(const ExecutorOptions& options, uint32_t window = 0);

/// Pages in order, (sequences, windows, pages of a context): chunk c of sequence s has page
/// s·r + c mod r, where r is pages_of_sequence(). Where r is less than a context has, an older
/// chunk's page is used again, so such a sequence can only go on, or begin again at 0.
std::vector<uint32_t> pages_in_order(const ExecutorOptions& options,
                                     std::span<const uint32_t> windows);

/// Gives each step a page table that the executor need not check again.
class Paging {
 public:
  /// `windows` of the program's groups.
  explicit Paging(const ExecutorOptions& options, std::vector<uint32_t> windows = {0});

  /// Returns the step with its own page table or, if that is empty, with pages in order. Throws
  /// std::logic_error unless every position that a token sees has a page in every group, also after
  /// `ahead` more tokens; and if pages in order are used again and a sequence goes on by more
  /// positions than the batch.
  Step resolve(const Step& step, uint32_t ahead = 0) const;

 private:
  std::vector<uint32_t> windows_, pages_;  // by group
  uint32_t stride_;
  uint32_t most_positions_ = UINT32_MAX;  // of a sequence in a step with pages in order
  std::vector<uint32_t> in_order_;        // (sequences, groups, stride)
};

}  // namespace assay::op
