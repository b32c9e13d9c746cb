// The pool of KV pages: which pages are free, and how many sequences read each of the others.
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

/// Gives pages to rows and counts the rows that hold each page. Executors write pages in place, so a
/// page that is still being filled belongs to one row only. Two rows share a page only where both
/// hold all of its 64 positions, and where all pages before it are shared, too. Whatever would go on
/// inside a shared page loses that page and computes its positions again: fork() and truncate() say
/// how many positions remain.
class PagePool {
 public:
  explicit PagePool(uint32_t pages);

  uint32_t size() const { return uint32_t(owners_.size()); }
  uint32_t free() const { return uint32_t(free_.size()); }
  uint32_t owners(uint32_t page) const { return owners_[page]; }  ///< 0: the page is free

  /// Appends pages, the lowest free ones first, until the row has room for `positions`. Errors: too
  /// few pages are free; the row stays as it was.
  Status extend(PageRow& row, uint64_t positions);

  /// Keeps the pages of the first `positions`, of which the row must hold that many, and gives back
  /// the rest. Returns the positions that remain: `positions`, or those before the last kept page
  /// where that page is partly filled now and shared.
  uint32_t truncate(PageRow& row, uint32_t positions);

  /// A row that shares the full pages among the first `positions`, which must be filled. It holds
  /// 64 positions a page; what follows them has to be computed again.
  PageRow fork(const PageRow& row, uint32_t positions);

 private:
  void release(uint32_t page);

  std::vector<uint32_t> owners_;  // (pages)
  std::vector<uint32_t> free_;    // a heap, the lowest page first
};

}  // namespace assay::run
