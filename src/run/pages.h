// The pool of KV pages: which pages are free, and how many sequences use each of the others.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "op/program.h"

namespace assay::run {

using op::page_positions;

/// A sequence's pages: positions 64·c … 64·c+63 lie in page row[c].
using PageRow = std::vector<uint32_t>;

/// How many pages hold this many positions.
constexpr uint64_t pages_for(uint64_t positions) {
  return (positions + page_positions - 1) / page_positions;
}

/// Gives pages to rows and counts the rows that hold each page. Executors write pages in place, so
/// a page that is still being filled belongs to one row only. Two rows share a page only if both
/// hold all of its 64 positions and share all pages before it. A row that would continue inside a
/// shared page gives that page up, and its positions have to be computed again: fork() and
/// truncate() return how many positions remain.
class PagePool {
 public:
  explicit PagePool(uint32_t pages);

  uint32_t size() const { return uint32_t(owners_.size()); }
  uint32_t free() const { return uint32_t(free_.size()); }
  uint32_t owners(uint32_t page) const { return owners_[page]; }  ///< 0: the page is free

  /// Appends pages, the lowest free ones first, until the row has room for `positions`. Errors: too
  /// few pages are free; the row stays as it was.
  Status extend(PageRow& row, uint64_t positions);

  /// Keeps the pages of the first `positions` positions, which the row must hold, and gives back
  /// the rest. Returns how many positions remain: `positions`, or, if the last kept page is now
  /// partly filled and is shared, only those before that page.
  uint32_t truncate(PageRow& row, uint32_t positions);

  /// A row that shares the full pages of the first `positions` positions, which must be filled. It
  /// holds 64 positions per page; the positions after them have to be computed again.
  PageRow fork(const PageRow& row, uint32_t positions);

 private:
  void release(uint32_t page);

  std::vector<uint32_t> owners_;  // (pages)
  std::vector<uint32_t> free_;    // a heap, the lowest page first
};

}  // namespace assay::run
