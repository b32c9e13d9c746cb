// What an engine is asked to do for an invariant, as data: steps over several sequences, undo,
// copies. Two schedules that run the same text must give the same logits, whatever lies between.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace assay::invariants {

/// Runs a sequence's text from where it stands up to the token before `end`.
struct Part {
  uint32_t sequence, end;
  auto operator<=>(const Part&) const = default;
};
/// All parts in one step, in this order.
struct Step {
  std::vector<Part> parts;
  auto operator<=>(const Step&) const = default;
};
/// Runs `count` tokens that are not the text's, in one step.
struct Wander {
  uint32_t sequence, count;
  auto operator<=>(const Wander&) const = default;
};
/// Forgets a sequence's tokens from `position` on.
struct Undo {
  uint32_t sequence, position;
  auto operator<=>(const Undo&) const = default;
};
/// `to`, which is empty, becomes the first `positions` tokens of `from`, without running them where
/// the engine can.
struct Copy {
  uint32_t from, to, positions;
  auto operator<=>(const Copy&) const = default;
};
/// NaN, or zero, in every place of the cache. Only at a schedule's beginning.
struct Fill {
  bool nan;
  auto operator<=>(const Fill&) const = default;
};
using Action = std::variant<Step, Wander, Undo, Copy, Fill>;

/// Begins with an engine whose sequences are all empty.
struct Schedule {
  std::vector<uint32_t> texts;  ///< by sequence
  std::vector<Action> actions;
  bool keys = false;     ///< the rows are of the first layer's keys, as the cache holds them
  bool counted = false;  ///< positions are not given: the engine counts them
  bool cold = false;     ///< nothing that earlier schedules left may be used
  auto operator<=>(const Schedule&) const = default;
};

/// What an engine can be asked.
enum class Ability {
  several,  ///< several sequences in a step
  undo,
  copy,
  fill,
  keys,    ///< shows the keys that it stores
  counts,  ///< positions may be left to it
};
std::string_view name_of(Ability ability);
/// Those that a schedule needs.
std::set<Ability> needs_of(const Schedule& schedule);

/// Where a row of logits, or of keys, belongs.
struct Place {
  uint32_t text, position;
  auto operator<=>(const Place&) const = default;
};

/// The logits after the token at a place: enough to tell them from others, and how far they are apart.
struct Row {
  std::string bits;  ///< equal for equal rows; empty: only the best are known
  bool finite = true;
  /// (token, log-probability) of the best tokens; empty for keys, and for rows that are not finite.
  std::vector<std::pair<int64_t, double>> best;
  std::vector<float> values;  ///< all of them, for keys and for a row that was asked for
};
using Rows = std::map<Place, Row>;

using Texts = std::vector<std::vector<int32_t>>;

/// An engine that runs schedules.
struct Subject {
  std::string name;  ///< "cpu (avx2, 2 threads), contract assay/1"
  bool by_bits =
      true;  ///< what it computes follows from the tokens to the bit; else from its noise
  bool remembers = false;  ///< from one schedule to the next: each case needs a text of its own
  std::set<Ability> abilities;
  /// `whole`: the place of the row whose `values` are wanted. A place that runs twice has the row of
  /// the last time.
  std::function<Result<Rows>(const Schedule&, const Texts&, const Place* whole)> run;
};

/// The row of these logits, or keys.
Row row_of(std::vector<float> values, bool keys, bool whole);

}  // namespace assay::invariants
