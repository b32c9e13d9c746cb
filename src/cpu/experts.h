// Which experts a router chooses, and which rows of a step each expert has.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "op/operation.h"

namespace assay::cpu {

/// Makes a routing (op::Route) of a row's probabilities and logits. Kept by a thread for its memory.
class Chooser {
 public:
  /// p: softmax or sigmoid of the logits; bias may be null; routing: (2·used).
  void choose(const op::Route& router, std::span<const float> logits, const float* p,
              const float* bias, float* routing);

 private:
  void leave_out_groups(const op::Route& router);

  std::vector<float> choice_;  // what the choice goes by
  std::vector<float> group_;
  std::vector<bool> out_;  // experts that cannot be chosen (any more)
};

/// The expert with this id of a routing; `experts`, which is none, where the id is not that of one.
inline uint32_t expert_of(float id, uint32_t experts) {
  return id >= 0.0f && id < float(experts) ? uint32_t(id) : experts;
}

/// The places (token·used + slot) of a step's routings by expert: a counting sort, so that an
/// expert's places are in order whoever makes it. Kept by a thread from one operation to the next.
class ExpertRows {
 public:
  /// Makes the lists of the routings (tokens, 2·used), unless they are those of `key` already.
  void make(std::span<const float> routings, uint32_t used, uint32_t experts, uint64_t key);

  std::span<const uint32_t> of(uint32_t expert) const {
    return std::span(places_).subspan(first_[expert], first_[expert + 1] - first_[expert]);
  }
  /// Places whose id is that of no expert.
  std::span<const uint32_t> strays() const { return of(experts_); }
  /// The experts that have a row, in order.
  std::span<const uint32_t> chosen() const { return chosen_; }

 private:
  uint64_t key_ = 0;
  uint32_t experts_ = 0;
  std::vector<uint32_t> first_;   // (experts + 2): where an expert's places begin
  std::vector<uint32_t> places_;  // (tokens·used)
  std::vector<uint32_t> chosen_;
};

}  // namespace assay::cpu
