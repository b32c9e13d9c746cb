// From logits to a token: penalties, top-k, top-p, min-p, temperature, then a draw. Order and
// defaults as llama.cpp's: penalties, top_k, top_p, min_p, temperature, draw (its dry, top-n-sigma,
// typical and xtc are off by default and absent here).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "op/best.h"
#include "op/executor.h"

namespace assay::run {

struct SamplerOptions {
  float temperature =
      0.8f;             ///< <= 0: greedy (the highest logit after penalties, ties to the lower id)
  int32_t top_k = 40;   ///< <= 0: all
  float top_p = 0.95f;  ///< >= 1: all
  float min_p = 0.05f;  ///< <= 0: all
  float repeat_penalty = 1.0f;  ///< 1: off; > 0
  float frequency_penalty = 0.0f;
  float presence_penalty = 0.0f;
  int32_t repeat_last_n = 64;  ///< window of the penalties; 0: off, -1: everything
  uint64_t seed = 0;
  std::vector<int32_t> banned;  ///< tokens that are never drawn: their logits count as −infinity
};

/// Chooses tokens. The same logits, history, options and position give the same token on every
/// machine, and on a device that draws by itself: probabilities are whole numbers
/// (kernel/sampling.h), of which the draw of a position takes the one that Philox4x32-10 with the
/// key (seed) and the counter (position, 0) falls into.
class Sampler {
 public:
  explicit Sampler(SamplerOptions options);

  /// Records a token (prompt or generated) for the penalties.
  void accept(int32_t token);

  /// The token for `position` (the position it will take). A logit that is NaN or −infinity is
  /// never chosen; −1 where no other is left.
  int32_t sample(std::span<const float> logits, uint64_t position) const;
  /// The same from the `wanted()` best of the logits (op::best_of).
  int32_t sample(std::span<const op::Candidate> best, uint64_t position) const;
  /// How many of the best logits decide; 0: all of them (no top-k, penalties, banned tokens).
  uint32_t wanted() const;
  /// What an executor needs to draw from the `wanted()` best in this sampler's place.
  op::Drawing drawing() const;

  struct Candidate {
    int32_t id;
    float logit;         ///< after the penalties
    double probability;  ///< after the filters and the temperature
    uint64_t weight;     ///< the same in whole 2^-40 of the best's
  };
  /// What all filters leave, probabilities summing to 1, best first (ties: lower id first). For
  /// tests and `logprobs`.
  std::vector<Candidate> candidates(std::span<const float> logits) const;

 private:
  bool greedy() const { return !(options_.temperature > 0.0f); }
  bool changes_logits() const;
  uint32_t top_k() const;  // 0: all
  std::vector<float> changed(std::span<const float> logits) const;
  std::vector<Candidate> filtered(std::span<const op::Candidate> best) const;
  int32_t draw(std::span<const Candidate> list, uint64_t position) const;

  SamplerOptions options_;
  std::vector<int32_t> history_;
};

}  // namespace assay::run
