#include "op/paging.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace assay::op {

namespace {

/// Positions that a step may add to a sequence.
uint32_t step_positions(const ExecutorOptions& options) {
  return std::max(options.batch, most_drawn_ahead);
}

/// The chunk of the first key that a query at this position sees.
uint32_t first_seen(uint32_t window, uint32_t position) {
  return window && position >= window ? (position - window + 1) / page_positions : 0;
}

}  // namespace

uint32_t pages_of_sequence(const ExecutorOptions& options, uint32_t window) {
  const uint32_t whole = pages_for(options.context);
  if (window == 0) return whole;
  // The step's positions may begin anywhere in their first page.
  return std::min(whole, pages_for(window - 1) + pages_for(step_positions(options) - 1) + 1);
}

uint32_t pages_of(const ExecutorOptions& options, uint32_t window) {
  const uint32_t enough = options.sequences * pages_of_sequence(options, window);
  if (options.pages == 0) return enough;
  return window ? std::min(options.pages, enough) : options.pages;
}

std::vector<uint32_t> pages_in_order(const ExecutorOptions& options,
                                     std::span<const uint32_t> windows) {
  std::vector<uint32_t> table;
  for (uint32_t sequence = 0; sequence < options.sequences; ++sequence)
    for (const uint32_t window : windows) {
      const uint32_t own = pages_of_sequence(options, window);
      for (uint32_t chunk = 0; chunk < pages_for(options.context); ++chunk)
        table.push_back(sequence * own + chunk % own);
    }
  return table;
}

Paging::Paging(const ExecutorOptions& options, std::vector<uint32_t> windows)
    : windows_(std::move(windows)),
      stride_(pages_for(options.context)),
      in_order_(pages_in_order(options, windows_)) {
  for (const uint32_t window : windows_) {
    pages_.push_back(pages_of(options, window));
    if (pages_of_sequence(options, window) < stride_) most_positions_ = step_positions(options);
  }
}

Step Paging::resolve(const Step& step, uint32_t ahead) const {
  Step resolved = step;
  const bool in_order = step.pages.pages.empty();
  const auto groups = uint32_t(windows_.size());
  if (in_order) resolved.pages = {in_order_, stride_, groups};
  const PageTable& table = resolved.pages;
  if (table.groups != groups)
    throw std::logic_error("a step's page table has " + std::to_string(table.groups) +
                           " groups, the program " + std::to_string(groups));
  const uint64_t rows = table.stride ? table.pages.size() / table.stride / groups : 0;
  // A sequence's tokens stand together as a rule: its pages are looked at once then.
  for (size_t t = 0, begin = 0; t < step.tokens.size(); ++t) {
    const uint32_t sequence = step.sequences[t];
    const bool last = t + 1 == step.tokens.size() || step.sequences[t + 1] != sequence;
    if (!last && step.positions[t + 1] >= step.positions[t]) continue;
    const uint32_t first_position = step.positions[begin];
    const uint32_t last_position = step.positions[t] + ahead;
    begin = t + 1;
    if (in_order && last_position - first_position >= most_positions_)
      throw std::logic_error("a step adds more positions to sequence " + std::to_string(sequence) +
                             " than its windows leave room for");
    const uint32_t wanted = pages_for(last_position + 1);
    const bool there = sequence < rows && wanted <= table.stride;
    for (uint32_t group = 0; group < groups; ++group) {
      const auto has = [&](uint32_t page) { return page < pages_[group]; };
      const uint32_t window = windows_[group], first = first_seen(window, first_position);
      if (!there ||
          !std::ranges::all_of(table.row(sequence, group).subspan(first, wanted - first), has))
        throw std::logic_error("a step's page table has no page for position " +
                               std::to_string(last_position) + " of sequence " +
                               std::to_string(sequence));
    }
  }
  return resolved;
}

}  // namespace assay::op
