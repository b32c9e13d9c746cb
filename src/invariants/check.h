// Asks an engine every invariant, and finds the smallest case in which one breaks.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "invariants/list.h"
#include "invariants/schedule.h"

namespace assay::invariants {

enum class Answer { holds, breaks, unmeasured };
std::string_view name_of(Answer answer);

/// What differs between the two sides of a question.
struct Difference {
  Place first;          ///< the first text in which anything differs, and the first position of it
  uint64_t differ = 0;  ///< rows
  uint64_t of = 0;
  uint64_t other_best = 0;     ///< rows whose best token is another one
  bool not_finite = false;     ///< some row is, where the other side's is finite
  double log_probability = 0;  ///< the largest difference among the best tokens
  /// In the first row that differs, where all of it is known: the largest difference, the token or
  /// channel that has it, and both sides' values.
  std::optional<uint32_t> channel;
  double size = 0, wanted = 0, got = 0;
};

struct Finding {
  const Invariant* invariant = nullptr;
  Answer answer = Answer::unmeasured;
  std::string why;                       ///< unmeasured
  bool keys = false;                     ///< what differs are keys, not logits
  std::optional<Difference> difference;  ///< in the whole case
  Case smallest{};                       ///< that breaks
  std::optional<Difference> in_smallest;
};

struct Report {
  std::string engine;
  Case whole{};
  bool by_bits = true;
  double noise = 0;  ///< the largest difference of a log-probability between repeats
  double limit = 0;  ///< twice that
  std::vector<Finding> findings;

  uint64_t count(Answer answer) const;
  /// A line each: what breaks, where first, by how much, and the smallest case.
  std::vector<std::string> lines() const;
  /// Begins with PASS, FAIL or UNMEASURED.
  std::string sentence() const;
};

struct Settings {
  std::vector<int32_t> tokens;
  Case whole{};
  std::vector<std::string> only;  ///< ids of the invariants that are asked; empty: all
  uint32_t repeats = 4;           ///< runs that the noise is measured by
  std::function<void(uint64_t done, uint64_t total)> progress;  ///< invariants; may be empty
};

/// Errors: an id in `only` that is none; what the engine cannot do although it should.
Result<Report> check(const Subject& subject, const Settings& settings);

/// What the rows of `other` have otherwise than those of `plain`; nothing where no row differs by
/// more than `limit` (or in a bit).
std::optional<Difference> compare(const Rows& plain, const Rows& other, bool by_bits, double limit);

/// "texts of 5 tokens, 2 sequences, the last 1 token one by one"
std::string text_of(const Case& the);

}  // namespace assay::invariants
