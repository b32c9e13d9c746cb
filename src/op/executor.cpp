#include "op/executor.h"

namespace assay::op {

std::vector<std::vector<Candidate>> Executor::run_best(const Step& step, uint32_t most) {
  const auto logits = run(step, {});
  std::vector<std::vector<Candidate>> rows;
  const size_t width = step.selected.empty() ? 0 : logits.size() / step.selected.size();
  for (size_t i = 0; i < step.selected.size(); ++i)
    rows.push_back(best_of(logits.subspan(i * width, width), most));
  return rows;
}

std::vector<int32_t> Executor::run_ahead(const Step&, std::span<const Drawing>, uint32_t) {
  throw std::logic_error("an executor that cannot draw was asked to");
}

}  // namespace assay::op
