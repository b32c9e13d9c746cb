#include "op/best.h"

#include <algorithm>
#include <limits>

namespace assay::op {

namespace {

bool better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

}  // namespace

std::vector<Candidate> best_of(std::span<const float> logits, uint32_t most) {
  std::vector<Candidate> best;  // a heap with the worst on top
  for (size_t id = 0; id < logits.size(); ++id) {
    const Candidate one{int32_t(id), logits[id]};
    if (!(one.logit > -std::numeric_limits<float>::infinity())) continue;  // NaN, too
    if (most && best.size() == most) {
      if (!better(one, best.front())) continue;
      std::ranges::pop_heap(best, better);
      best.back() = one;
    } else {
      best.push_back(one);
    }
    if (most) std::ranges::push_heap(best, better);
  }
  std::ranges::sort(best, better);
  return best;
}

}  // namespace assay::op
