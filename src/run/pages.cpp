#include "run/pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <functional>
#include <numeric>

namespace assay::run {

PagePool::PagePool(uint32_t pages) : owners_(pages, 0), free_(pages) {
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

uint32_t PagePool::truncate(PageRow& row, uint32_t positions) {
  uint64_t kept = pages_for(positions);
  assert(kept <= row.size());
  const bool partly_filled = positions % page_positions != 0;
  if (partly_filled && owners_[row[kept - 1]] > 1) {
    --kept;
    positions = uint32_t(kept) * page_positions;
  }
  for (; row.size() > kept; row.pop_back()) release(row.back());
  return positions;
}

PageRow PagePool::fork(const PageRow& row, uint32_t positions) {
  const uint32_t full = positions / page_positions;
  assert(full <= row.size());
  PageRow forked(row.begin(), row.begin() + full);
  for (const uint32_t page : forked) ++owners_[page];
  return forked;
}

void PagePool::release(uint32_t page) {
  if (--owners_[page] > 0) return;
  free_.push_back(page);
  std::ranges::push_heap(free_, std::greater());
}

}  // namespace assay::run
