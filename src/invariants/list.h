// The invariants: what must not change what an engine computes.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "invariants/schedule.h"

namespace assay::invariants {

/// How large the case is in which an invariant is asked.
struct Case {
  uint32_t tokens;        ///< of a text; text i has i fewer
  uint32_t sequences;     ///< in one step, where the invariant has several
  uint32_t decode;        ///< the last tokens of a text, which run one by one
  uint32_t rotation = 0;  ///< of the texts, so that a case can have texts of its own
};

/// What must be equal: `other` gives every row that it has with the bits that one of `plain` gives.
struct Question {
  std::vector<Schedule> plain;
  Schedule other;
};

struct Invariant {
  std::string_view id;
  std::string_view name;   ///< "cached = computed"
  std::string_view claim;  ///< "a prompt whose last tokens run one by one has the logits of …"
  Case least;              ///< the smallest case that asks anything
  /// Nothing where an engine of these abilities cannot be asked.
  std::optional<Question> (*ask)(const Case& the, const std::set<Ability>& abilities);
};

const std::vector<Invariant>& list();

/// The texts of a case from the tokens of one: text i begins 7·i tokens later, and comes around.
Texts texts_of(const Case& the, const std::vector<int32_t>& tokens);

}  // namespace assay::invariants
