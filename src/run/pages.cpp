#include "run/pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <functional>
#include <numeric>

#include "op/paging.h"

namespace assay::run {

PagePool::PagePool(uint32_t pages, uint32_t window)
    : window_(window), owners_(pages, 0), free_(pages) {
  std::iota(free_.begin(), free_.end(), 0u);  // ascending is a heap already
}

Status PagePool::extend(PageRow& row, uint64_t positions) {
  const uint64_t wanted = pages_for(positions);
  if (wanted > row.size() + free_.size()) {
    const uint64_t more = wanted - row.size();
    return Error{
        fmt::format("the KV cache is full: {} more page{} of {} positions needed, {} of {} free",
                    more, more == 1 ? "" : "s", page_positions, free_.size(), size())};
  }
  while (row.size() < wanted) {
    std::ranges::pop_heap(free_, std::greater());
    row.push_back(free_.back());
    free_.pop_back();
    owners_[row.back()] = 1;
  }
  return ok();
}

void PagePool::give_back_before(PageRow& row, uint32_t position) {
  uint64_t chunk = op::first_kept(window_, position);
  assert(chunk <= row.size());
  for (; chunk > 0 && row[chunk - 1] != op::none; --chunk) {
    release(row[chunk - 1]);
    row[chunk - 1] = op::none;
  }
}

uint32_t PagePool::kept(const PageRow& row, uint32_t positions) const {
  const uint64_t pages = pages_for(positions);
  assert(pages <= row.size());
  const uint32_t first = op::first_kept(window_, positions);
  if (first < pages && row[first] == op::none) return 0;
  const bool partly_filled = positions % page_positions != 0;
  if (partly_filled && owners_[row[pages - 1]] > 1) return uint32_t(pages - 1) * page_positions;
  return positions;
}

uint32_t PagePool::truncate(PageRow& row, uint32_t positions) {
  positions = kept(row, positions);
  for (const uint64_t pages = pages_for(positions); row.size() > pages; row.pop_back())
    if (row.back() != op::none) release(row.back());
  return positions;
}

PageRow PagePool::fork(const PageRow& row, uint32_t positions) {
  const uint32_t full = positions / page_positions * page_positions;
  if (kept(row, full) < full) return {};
  PageRow forked(row.begin(), row.begin() + full / page_positions);
  std::fill_n(forked.begin(), op::first_kept(window_, full), op::none);
  for (const uint32_t page : forked)
    if (page != op::none) ++owners_[page];
  return forked;
}

void PagePool::release(uint32_t page) {
  if (--owners_[page] > 0) return;
  free_.push_back(page);
  std::ranges::push_heap(free_, std::greater());
}

}  // namespace assay::run
