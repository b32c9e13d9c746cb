// The pool of KV pages of a group of caches: which are free, and how many sequences use each of the
// others.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "op/program.h"

namespace assay::run {

using op::page_positions;

/// A sequence's pages in one group of caches: positions 64·c … 64·c+63 lie in page row[c]. The first
/// entries are op::none where a windowed group has given back what no later token sees.
using PageRow = std::vector<uint32_t>;

/// How many pages hold this many positions.
constexpr uint64_t pages_for(uint64_t positions) {
  return (positions + page_positions - 1) / page_positions;
}

/// Gives pages to rows and counts the rows that hold each page. Executors write pages in place, so
/// a page that is still being filled belongs to one row only. Two rows share a page only if both
/// hold all of its 64 positions and share all pages before it that both still hold. A row that would
/// continue inside a shared page gives that page up, and its positions have to be computed again:
/// fork() and truncate() return how many positions remain.
class PagePool {
 public:
  /// `window` of the group (op::Program::windows).
  explicit PagePool(uint32_t pages, uint32_t window = 0);

  uint32_t size() const { return uint32_t(owners_.size()); }
  uint32_t free() const { return uint32_t(free_.size()); }
  uint32_t owners(uint32_t page) const { return owners_[page]; }  ///< 0: the page is free

  /// Gives back the pages that a sequence which goes on from `position` or later does not see. The
  /// row must hold that position or end before it.
  void give_back_before(PageRow& row, uint32_t position);

  /// Appends pages, the lowest free ones first, until the row has room for `positions`. Errors: too
  /// few pages are free; the row stays as it was.
  Status extend(PageRow& row, uint64_t positions);

  /// How many of the first `positions` positions, which the row must have, a sequence can keep and
  /// go on after: all; if the page that would be partly filled is shared, only those before it; none
  /// if a page that the next tokens see was given back.
  uint32_t kept(const PageRow& row, uint32_t positions) const;

  /// Keeps the pages of the first kept() positions and gives back the rest. Returns kept().
  uint32_t truncate(PageRow& row, uint32_t positions);

  /// A row that shares the full pages of the first `positions` positions, which must be filled, as
  /// far as the tokens after them see. It holds 64 positions per page, or none if a page was given
  /// back; the positions after them have to be computed again.
  PageRow fork(const PageRow& row, uint32_t positions);

 private:
  void release(uint32_t page);

  uint32_t window_;
  std::vector<uint32_t> owners_;  // (pages)
  std::vector<uint32_t> free_;    // a heap, the lowest page first
};

}  // namespace assay::run
