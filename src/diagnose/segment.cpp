// A failure that closes a segment: which of its operations is wrong, and why.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "diagnose/diagnose.h"
#include "diagnose/segment_parts.h"
#include "diff/segment.h"

namespace assay::diagnose {

using diff::Segment;
using judge::Judged;
using judge::Table;

namespace {

/// All hypotheses about one operation of a segment, or about that which closes it.
struct Tried {
  std::set<std::string> keys;
  Cause cause;
  double price = INFINITY;
};

using Attempt = std::function<void(const Case& the, Contest& contest)>;

Tried try_operation(const op::Program& program, const Segment& segment, size_t index,
                    const std::set<std::string>* only, const Attempt& attempt) {
  const bool closes = index == segment.closing().operation;
  Case the{program,
           program.operations[index],
           nullptr,
           nullptr,
           closes ? segment.closing() : segment.scene(index),
           {},
           {}};
  the.usual = closes ? segment.expected() : diff::expect(the.program, the.scene);
  the.seen = judge::compare(the.got(), the.usual);
  const Contest::Carried carried{
      segment.closing().output, segment.expected(),
      [&](const Judged& altered) {
        if (closes) return segment.closed(altered);
        const bool same = altered.want.data == the.usual.want.data;
        return same ? segment.expected() : segment.carried({{&index, 1}, &altered});
      },
      [&](const Judged& altered) {
        return closes ? segment.closed(altered) : segment.judged({{&index, 1}, &altered});
      },
      only};
  Contest contest(the, carried);
  attempt(the, contest);
  return {contest.keys(), contest.result(), contest.price()};
}

// --- parameters of several operations alike ---

using Alter = std::function<void(op::Program&)>;

/// Numbers that operations of one kind share: tried as they are usual, or fitted.
class Shared {
 public:
  /// `few` has the first of the segment's tokens: enough to fit a number.
  Shared(const op::Program& program, const Segment& segment, const Segment& few,
         std::span<const size_t> which)
      : program_(program),
        segment_(segment),
        few_(few),
        which_(which),
        case_{program, program.operations[which[0]], nullptr, nullptr, segment.scene(which[0]), {},
              {}},
        carried_{segment.closing().output, segment.expected(),
                 [this](const Judged&) { return segment_.carried(altered()); },
                 [this](const Judged&) { return segment_.judged(altered()); }},
        contest_((case_.usual = diff::expect(program, case_.scene), case_), carried_) {}

  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  bool offer(Cause cause, double price, const Alter& alter) {
    program_altered_ = program_;
    alter(program_altered_);
    return contest_.offer(std::move(cause), case_.usual, price);
  }
  /// The number with which the recorded output comes nearest; then rounded to few digits.
  void offer_fitted(double low, double high, int points, const std::function<Alter(double)>& alter,
                    const std::function<Cause(double)>& cause) {
    if (contest_.decided()) return;
    const Table& got = few_.closing().output;
    const double number =
        std::exp(least_along(std::log(low), std::log(high), points, [&](double logarithm) {
          program_altered_ = program_;
          alter(std::exp(logarithm))(program_altered_);
          return distance(few_.carried(altered()).want, got);
        }));
    for (int digits = 1; digits <= 5; ++digits) {
      const double round = rounded(number, digits);
      if (offer(cause(round), price::number(digits), alter(round))) return;
    }
  }
  /// Of what they are, where they are several: "of queries and keys, base 20000".
  std::string also(std::string_view several, const std::string& text) const {
    if (which_.size() == 1) return text;
    return text.empty() ? std::string(several) : fmt::format("{}, {}", several, text);
  }
  bool several() const { return which_.size() > 1; }
  Tried tried() const { return {contest_.keys(), contest_.result(), contest_.price()}; }

 private:
  diff::Altered altered() const { return {which_, nullptr, &program_altered_}; }

  const op::Program& program_;
  const Segment &segment_, &few_;
  std::span<const size_t> which_;
  Case case_;
  op::Program program_altered_;
  Contest::Carried carried_;
  Contest contest_;
};

Alter of_tables(const std::function<void(op::RopeTable&)>& alter) {
  return [alter](op::Program& program) {
    for (op::RopeTable& table : program.rope_tables)
      if (!table.growth) alter(table);
  };
}

Alter with_base(double base) {
  return of_tables([base](op::RopeTable& table) {
    for (size_t i = 0; i < table.frequency.size(); ++i)
      table.frequency[i] = std::pow(base, -2.0 * double(i) / double(table.dimensions));
  });
}

Tried try_ropes(Shared shared) {
  const char* both = "of queries and keys";
  if (shared.several()) {
    shared.offer({"rope-pairing", "RoPE turns the wrong lanes", both}, 1,
                 of_tables([](op::RopeTable& table) { table.adjacent = !table.adjacent; }));
    shared.offer({"rope-missing", "nothing is turned", both}, 1,
                 of_tables([](op::RopeTable& table) { std::ranges::fill(table.frequency, 0.0); }));
    shared.offer({"rope-backwards", "RoPE turns the other way", both}, 1,
                 of_tables([](op::RopeTable& table) {
                   for (double& f : table.frequency) f = -f;
                 }));
    for (const double factor : {2.0, 4.0, 8.0, 16.0, 32.0, 0.5, 0.25, 0.125})
      shared.offer({"rope-scaling", "positions are scaled",
                    shared.also(both, fmt::format("divided by {:g}", factor))},
                   4, of_tables([factor](op::RopeTable& table) {
                     for (double& f : table.frequency) f /= factor;
                   }));
  }
  shared.offer_fitted(100, 1e8, 36, with_base, [&](double base) {
    return Cause{"rope-base", "RoPE's base is another",
                 shared.also(both, fmt::format("base {:g}", base))};
  });
  return shared.tried();
}

Tried try_norms(Shared shared) {
  const auto alter = [](double eps) {
    return [eps](op::Program& program) {
      for (op::Operation& operation : program.operations)
        if (auto* norm = operation.as<op::RmsNorm>()) norm->eps = float(eps);
    };
  };
  shared.offer_fitted(1e-7, 10, 30, alter, [&](double eps) {
    return Cause{"norm-eps", "the norm's eps is another",
                 shared.also("of all norms", fmt::format("{:.3g}", eps))};
  });
  return shared.tried();
}

Tried try_scores(Shared shared) {
  const auto alter = [](double factor) {
    return [factor](op::Program& program) {
      for (op::Operation& operation : program.operations)
        if (auto* attend = operation.as<op::Attend>())
          attend->scale = float(double(attend->scale) * factor);
    };
  };
  shared.offer_fitted(0.02, 50, 30, alter, [&](double factor) {
    return Cause{"score-scale", "the scores' scale is another",
                 fmt::format("{:.5g} of the model's", factor)};
  });
  return shared.tried();
}

/// Bits that the elements of a few tokens must be worth to tell hypotheses apart: no price is higher.
constexpr double telling = 100;

/// The first tokens that tell: what comes after them shows little new, and takes long. All of them where
/// rows were selected.
uint64_t telling_tokens(const op::Program& program, const Segment& segment) {
  const diff::Scene& closing = segment.closing();
  const uint64_t all = closing.tokens.tokens.size();
  if (program.values[program.operations[closing.operation].output].selected) return all;
  double bits = 0;
  for (uint64_t t = 0; t < all; ++t) {
    for (uint64_t i = 0; i < closing.output.width; ++i) {
      const judge::Seen seen = judge::compare_element(closing.output, segment.expected(), t, i);
      if (seen.failures > 0) bits += std::log2(std::max(seen.max_u / seen.limit_u, 1.0));
    }
    if (!(bits < telling)) return t + 1;
  }
  return all;
}

}  // namespace

Result<Cause> diagnose_segment(const op::Program& program, const trace::Trace& trace,
                               const diff::Side& side, const diff::Failure& failure) {
  const auto segment = Segment::open(program, trace, side, failure);
  if (!segment) return segment.error();
  const uint64_t all = segment->closing().tokens.tokens.size();
  const uint64_t few = telling_tokens(program, *segment);
  std::map<uint64_t, Segment> parts;
  const auto shorter = [&](uint64_t tokens) -> const Segment& {
    const auto found = parts.find(tokens);
    return found != parts.end() ? found->second
                                : parts.emplace(tokens, segment->first(tokens)).first->second;
  };
  std::optional<Tried> best;
  const auto keep = [&](size_t index, Tried tried) {
    if (!std::isfinite(tried.price)) return;
    tried.cause.operation = program.operations[index].name;
    if (best && !(tried.price < best->price)) {
      best->cause.ties.push_back(tried.cause.id + " in " + tried.cause.operation);
      return;
    }
    if (best) tried.cause.ties.push_back(best->cause.id + " in " + best->cause.operation);
    best = std::move(tried);
  };
  const auto attempt_in = [&](const Segment& part) -> Attempt {
    return [&](const Case& the, Contest& contest) {
      try_kind(the, contest);
      if (!contest.decided() && the.scene.operation != failure.operation)
        try_scaled(part, the, contest);
    };
  };
  // First with few tokens; what counts there, with all. Where that does not, few tokens were too few.
  const auto consider = [&](size_t index) {
    for (uint64_t tokens = few; tokens < all; tokens *= 2) {
      const Segment& part = shorter(tokens);
      const Tried few_tried = try_operation(program, part, index, nullptr, attempt_in(part));
      if (few_tried.keys.empty()) return;
      Tried tried = try_operation(program, *segment, index, &few_tried.keys, attempt_in(*segment));
      if (!tried.keys.empty()) return keep(index, std::move(tried));
    }
    keep(index, try_operation(program, *segment, index, nullptr, attempt_in(*segment)));
  };
  std::vector<size_t> operations = segment->operations(), ropes, norms, attentions;
  operations.push_back(failure.operation);
  for (const size_t index : operations) {
    const op::Operation& operation = program.operations[index];
    consider(index);
    if (index == failure.operation) continue;
    if (operation.is<op::Rope>()) ropes.push_back(index);
    if (operation.is<op::RmsNorm>()) norms.push_back(index);
    if (operation.is<op::Attend>()) attentions.push_back(index);
  }
  const Segment& some = few + 3 < all ? shorter(few + 3) : *segment;
  for (const size_t index : attentions)
    keep(index, try_scores({program, *segment, some, {&index, 1}}));
  if (best && best->price <= price::number(1)) return best->cause;
  // Each alone, then all together.
  const auto alone_and_together = [&](const std::vector<size_t>& which, const auto& attempt) {
    for (const size_t index : which) keep(index, attempt({program, *segment, some, {&index, 1}}));
    if (which.size() > 1) keep(which.front(), attempt({program, *segment, some, which}));
  };
  alone_and_together(ropes, try_ropes);
  alone_and_together(norms, try_norms);
  if (best) return best->cause;
  for (const size_t index : segment->operations())
    keep(index,
         try_operation(program, *segment, index, nullptr,
                       [&](const Case& the, Contest& contest) { try_parts(some, the, contest); }));
  if (best) return best->cause;
  return Cause{"unknown", "cause unknown",
               "no hypothesis about an operation of the segment reproduces the engine's values"};
}

}  // namespace assay::diagnose
