// A failure that closes a segment: which of its operations is wrong, and why.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "diagnose/diagnose.h"
#include "diff/segment.h"

namespace assay::diagnose {

using diff::Segment;
using judge::Judged;
using judge::Table;

namespace {

/// Where a function is least between two bounds: by a grid, then golden section.
double least_along(double low, double high, int points, const std::function<double(double)>& of) {
  const double step = (high - low) / (points - 1);
  double best = low, least = INFINITY;
  for (int i = 0; i < points; ++i)
    if (const double d = of(low + i * step); d < least) {
      least = d;
      best = low + i * step;
    }
  double a = best - step, b = best + step;
  const double ratio = (std::sqrt(5.0) - 1) / 2;
  for (int i = 0; i < 40; ++i) {
    const double c = b - ratio * (b - a), d = a + ratio * (b - a);
    if (of(c) < of(d))
      b = d;
    else
      a = c;
  }
  return (a + b) / 2;
}

/// The factor of an operation's output that brings the recorded one nearest: by secants, as what
/// follows is not linear. NaN where there is none.
double fitted_factor(const Segment& segment, size_t operation, const Table& output) {
  const Table& got = segment.closing().output;
  const auto distance = [&](double factor, Table& at) {
    at = segment.carried({{operation, mapped(output, [&](double y) { return factor * y; })}}).want;
    double sum = 0;
    for (size_t i = 0; i < at.data.size(); ++i)
      sum += (at.data[i] - got.data[i]) * (at.data[i] - got.data[i]);
    return sum;
  };
  double factor = 1, least = NAN;
  for (int round = 0; round < 6; ++round) {
    Table here, beside;
    const double step = 1e-3 * std::max(std::fabs(factor), 1e-3);
    const double distant = distance(factor, here);
    distance(factor + step, beside);
    if (round > 0 && !(distant < least)) break;
    least = distant;
    double along = 0, square = 0;
    for (size_t i = 0; i < here.data.size(); ++i) {
      const double slope = (beside.data[i] - here.data[i]) / step;
      along += slope * (got.data[i] - here.data[i]);
      square += slope * slope;
    }
    if (!(square > 0)) return NAN;
    factor += along / square;
  }
  return factor;
}

void try_factor(const Segment& segment, const Case& the, Contest& contest) {
  const double factor = fitted_factor(segment, the.scene.operation, the.got());
  if (!(std::fabs(factor - 1) > 1e-6)) return;
  const auto scaled = [&](double by) {
    return std::pair(Cause{"scaled", "the result is scaled", fmt::format("by {:.4g}", by)},
                     with_limits(the, mapped(the.usual.want, [&](double y) { return by * y; })));
  };
  contest.offer_rounded(factor, scaled, price::of(double(segment.operations().size())));
}

/// All hypotheses about one operation of a segment, or about that which closes it.
struct Tried {
  std::set<std::string> keys;
  Cause cause;
  double price = INFINITY;
};

/// Of one whose result was recorded.
Tried tried(const Case& the) {
  Contest contest(the);
  try_kind(the, contest);
  if (!contest.decided()) try_general(the, contest);
  if (!contest.decided()) try_patterns(the, contest);
  return {contest.keys(), contest.result(), contest.price()};
}

Tried try_operation(const op::Program& program, const Segment& segment, size_t index,
                    const std::set<std::string>* only) {
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
  if (closes) return tried(the);
  const Contest::Carried carried{
      segment.closing().output, segment.expected(),
      [&](const Judged& altered) {
        const bool same = altered.want.data == the.usual.want.data;
        return same ? segment.expected() : segment.carried({{index, altered.want}});
      },
      only};
  Contest contest(the, carried);
  try_kind(the, contest);
  if (!contest.decided()) try_factor(segment, the, contest);
  return {contest.keys(), contest.result(), contest.price()};
}

// --- RoPE of queries and keys alike ---

/// Of the segment, what these tables give.
Segment::Altered turned(const op::Program& program, const Segment& segment,
                        std::span<const size_t> which,
                        const std::function<void(op::RopeTable&)>& alter) {
  op::Program other = program;
  for (op::RopeTable& table : other.rope_tables)
    if (!table.growth) alter(table);
  Segment::Altered out;
  for (const size_t index : which)
    out.emplace_back(index, diff::expect(other, segment.scene(index)).want);
  return out;
}

void with_base(op::RopeTable& table, double base) {
  const double lanes = double(table.dimensions);
  for (size_t i = 0; i < table.frequency.size(); ++i)
    table.frequency[i] = std::pow(base, -2.0 * double(i) / lanes);
}

/// The base with which the recorded output comes nearest: by a grid on its logarithm, then golden
/// section.
double fitted_base(const op::Program& program, const Segment& segment,
                   std::span<const size_t> which) {
  const Table& got = segment.closing().output;
  const auto distance = [&](double logarithm) {
    const Table at =
        segment
            .carried(turned(program, segment, which,
                            [&](op::RopeTable& table) { with_base(table, std::exp(logarithm)); }))
            .want;
    double sum = 0;
    for (size_t i = 0; i < at.data.size(); ++i)
      sum += (at.data[i] - got.data[i]) * (at.data[i] - got.data[i]);
    return sum;
  };
  return std::exp(least_along(std::log(100.0), std::log(1e8), 36, distance));
}

/// Other tables: of all RoPE in the segment, and the base of each alone.
Tried try_tables(const op::Program& program, const Segment& segment, std::span<const size_t> ropes,
                 const std::set<std::string>* only) {
  Case the{program, program.operations[ropes[0]], nullptr, nullptr, segment.scene(ropes[0]), {},
           {}};
  the.usual = diff::expect(program, the.scene);
  Segment::Altered altered;
  const Contest::Carried carried{segment.closing().output, segment.expected(),
                                 [&](const Judged&) { return segment.carried(altered); }, only};
  Contest contest(the, carried);
  const auto offer = [&](Cause cause, double price,
                         const std::function<void(op::RopeTable&)>& alter) {
    altered = turned(program, segment, ropes, alter);
    return contest.offer(std::move(cause), the.usual, price);
  };
  const std::string both = ropes.size() > 1 ? "of queries and keys" : "";
  const auto also = [&](std::string text) { return both.empty() ? text : both + ", " + text; };
  if (ropes.size() > 1) {
    offer({"rope-pairing", "RoPE turns the wrong lanes", both}, 1,
          [](op::RopeTable& table) { table.adjacent = !table.adjacent; });
    offer({"rope-missing", "nothing is turned", both}, 1,
          [](op::RopeTable& table) { std::ranges::fill(table.frequency, 0.0); });
    offer({"rope-backwards", "RoPE turns the other way", both}, 1, [](op::RopeTable& table) {
      for (double& f : table.frequency) f = -f;
    });
    for (const double factor : {2.0, 4.0, 8.0, 16.0, 32.0, 0.5, 0.25, 0.125})
      offer({"rope-scaling", "positions are scaled", also(fmt::format("divided by {:g}", factor))},
            4, [factor](op::RopeTable& table) {
              for (double& f : table.frequency) f /= factor;
            });
  }
  const auto at = [&](double base) {
    return [base](op::RopeTable& table) { with_base(table, base); };
  };
  const auto named = [&](double base) {
    return Cause{"rope-base", "RoPE's base is another", also(fmt::format("base {:g}", base))};
  };
  if (contest.decided() || the.program.rope_of(the.operation).frequency.size() < 2)
    return {contest.keys(), contest.result(), contest.price()};
  const double base = fitted_base(program, segment, ropes);
  for (int digits = 1; digits <= 5; ++digits)
    if (const double round = rounded(base, digits);
        offer(named(round), price::number(digits), at(round)))
      break;
  return {contest.keys(), contest.result(), contest.price()};
}

/// One token more than those before the first that fails: what comes after it shows nothing new, and
/// takes long. All of them where rows were selected.
uint64_t enough_tokens(const op::Program& program, const Segment& segment) {
  const diff::Scene& closing = segment.closing();
  const uint64_t all = closing.tokens.tokens.size();
  const op::Operation& operation = program.operations[closing.operation];
  if (program.values[operation.output].selected) return all;
  for (uint64_t t = 0; t < all; ++t)
    for (uint64_t i = 0; i < closing.output.width; ++i)
      if (judge::compare_element(closing.output, segment.expected(), t, i).failures > 0)
        return t + 1;
  return all;
}

}  // namespace

Result<Cause> diagnose_segment(const op::Program& program, const trace::Trace& trace,
                               const diff::Side& side, const diff::Failure& failure) {
  const auto segment = Segment::open(program, trace, side, failure);
  if (!segment) return segment.error();
  const uint64_t few = enough_tokens(program, *segment);
  const bool all = few == segment->closing().tokens.tokens.size();
  const Segment shorter = all ? *segment : segment->first(few);
  std::optional<Tried> best;
  // First with few tokens; what counts there, with all.
  const auto consider = [&](size_t index, const auto& attempt) {
    Tried tried = attempt(shorter, nullptr);
    if (!all && !tried.keys.empty()) tried = attempt(*segment, &tried.keys);
    if (!std::isfinite(tried.price)) return;
    tried.cause.operation = program.operations[index].name;
    if (best && !(tried.price < best->price)) {
      best->cause.ties.push_back(tried.cause.id + " in " + tried.cause.operation);
      return;
    }
    if (best) tried.cause.ties.push_back(best->cause.id + " in " + best->cause.operation);
    best = std::move(tried);
  };
  using Only = const std::set<std::string>*;
  std::vector<size_t> ropes;
  for (const size_t index : segment->operations()) {
    consider(index,
             [&](const Segment& of, Only only) { return try_operation(program, of, index, only); });
    if (program.operations[index].is<op::Rope>()) ropes.push_back(index);
  }
  consider(failure.operation, [&](const Segment& of, Only only) {
    return try_operation(program, of, failure.operation, only);
  });
  if (!best || best->price > price::number(1)) {
    for (const size_t index : ropes)
      consider(index, [&](const Segment& of, Only only) {
        return try_tables(program, of, std::span(&index, 1), only);
      });
    if (ropes.size() > 1)
      consider(ropes.front(),
               [&](const Segment& of, Only only) { return try_tables(program, of, ropes, only); });
  }
  if (best) return best->cause;
  return Cause{"unknown", "cause unknown",
               "no hypothesis about an operation of the segment reproduces the engine's values"};
}

}  // namespace assay::diagnose
