// The best of a row of logits: all that drawing a token needs of it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace assay::op {

/// A token that may be drawn: its logit is a number above −infinity.
struct Candidate {
  int32_t id;
  float logit;
};

/// Best first, equal logits the lower id first; at most `most` of them (0: all), fewer where no
/// more may be drawn.
std::vector<Candidate> best_of(std::span<const float> logits, uint32_t most);

}  // namespace assay::op
