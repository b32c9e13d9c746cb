#include "op/paging.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

namespace assay::op {

uint32_t pages_of(const ExecutorOptions& options) {
  return options.pages ? options.pages : options.sequences * pages_for(options.context);
}

Paging::Paging(const ExecutorOptions& options)
    : pages_(pages_of(options)),
      stride_(pages_for(options.context)),
      in_order_(size_t(options.sequences) * stride_) {
  std::iota(in_order_.begin(), in_order_.end(), 0u);
}

Step Paging::resolve(const Step& step, uint32_t ahead) const {
  Step resolved = step;
  if (step.pages.pages.empty()) resolved.pages = {in_order_, stride_};
  const PageTable& table = resolved.pages;
  // A sequence's tokens stand together as a rule: its pages are looked at once then.
  for (size_t t = 0; t < step.tokens.size(); ++t) {
    const uint32_t sequence = step.sequences[t];
    const bool last = t + 1 == step.tokens.size() || step.sequences[t + 1] != sequence;
    if (!last && step.positions[t + 1] >= step.positions[t]) continue;
    const uint32_t wanted = pages_for(step.positions[t] + ahead + 1);
    const bool there =
        wanted <= table.stride && (size_t(sequence) + 1) * table.stride <= table.pages.size();
    const auto has = [&](uint32_t page) { return page < pages_; };
    if (!there || !std::ranges::all_of(table.row(sequence).first(wanted), has))
      throw std::logic_error("a step's page table has no page for position " +
                             std::to_string(step.positions[t] + ahead) + " of sequence " +
                             std::to_string(sequence));
  }
  return resolved;
}

}  // namespace assay::op
