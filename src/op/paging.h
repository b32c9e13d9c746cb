// Pages of the cache: how many there are, and which of them the sequences of a step use.
#pragma once

#include <cstdint>
#include <vector>

#include "op/executor.h"
#include "op/program.h"

namespace assay::op {

/// How many pages hold `positions` positions of one sequence.
constexpr uint32_t pages_for(uint32_t positions) {
  return positions / page_positions + (positions % page_positions ? 1 : 0);
}

/// Pages that an executor with these options has.
uint32_t pages_of(const ExecutorOptions& options);

/// Gives each step a page table that the executor need not check again.
class Paging {
 public:
  explicit Paging(const ExecutorOptions& options);

  /// Returns the step with its own page table or, if that is empty, with pages in order: if a
  /// context has n pages, sequence s has pages s·n … s·n + n − 1. Throws std::logic_error unless
  /// every position that a token sees has a page, also after `ahead` more tokens.
  Step resolve(const Step& step, uint32_t ahead = 0) const;

 private:
  uint32_t pages_, stride_;
  std::vector<uint32_t> in_order_;  // (sequences, stride)
};

}  // namespace assay::op
