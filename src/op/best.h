// The best logits of a row: all that is needed to draw a token.
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

/// The best candidates, best first; of equal logits, the lower id first. At most `most` of them (0:
/// all); fewer if fewer tokens may be drawn.
std::vector<Candidate> best_of(std::span<const float> logits, uint32_t most);

}  // namespace assay::op
