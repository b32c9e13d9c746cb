// RoPE: rows 11, 12 and 13 of the catalogue.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numbers>

#include "diagnose/case.h"

namespace assay::diagnose {

using judge::Table;

namespace {

using PositionOf = std::function<uint32_t(uint64_t token)>;

Table turned(const Case& the, const op::RopeTable& rope, const PositionOf& position) {
  const Table& x = the.input(0);
  Table y(x.rows, x.width);
  for (uint64_t t = 0; t < x.rows; ++t)
    std::ranges::copy(judge::rope(x.row(t), rope, the.operation.as<op::Rope>()->heads, position(t)),
                      y.row(t).begin());
  return y;
}

/// Angle by which the engine turned pair i of the first head that shows it, at token t; NaN where
/// none does.
double angle_of(const Case& the, uint64_t t, size_t pair) {
  const op::RopeTable& rope = the.program.rope_of(the.operation);
  const auto x = the.input(0).row(t), y = the.got().row(t);
  const size_t head_dim = x.size() / the.operation.as<op::Rope>()->heads,
               half = rope.dimensions / 2;
  double cross = 0, dot = 0;
  for (size_t head = 0; head < the.operation.as<op::Rope>()->heads; ++head) {
    const size_t a = head * head_dim + (rope.adjacent ? 2 * pair : pair);
    const size_t b = a + (rope.adjacent ? 1 : half);
    cross += x[a] * y[b] - x[b] * y[a];
    dot += x[a] * y[a] + x[b] * y[b];
  }
  return std::atan2(cross, dot);
}

/// The engine's frequencies, and how far off they may be, in radians a position.
struct Frequencies {
  std::vector<double> of;
  double error = 0;
};

/// A first guess from the smallest position above 0; each further one, in rising order, makes it
/// better: what is left over of its angle is small against a turn. Empty where the smallest is too
/// far for angles to tell (they come back after 2π).
Frequencies frequencies_of(const Case& the) {
  const auto& positions = the.positions();
  std::vector<uint64_t> order;
  for (uint64_t t = 0; t < positions.size(); ++t)
    if (positions[t] > 0) order.push_back(t);
  std::ranges::sort(order, {}, [&](uint64_t t) { return positions[t]; });
  if (order.empty() || positions[order[0]] > 2) return {};
  Frequencies out{std::vector<double>(the.program.rope_of(the.operation).frequency.size(), 0.0), 0};
  double farthest = 0;
  for (const uint64_t t : order) {
    const double position = positions[t];
    if (farthest > 0 && position > 64 * farthest) break;
    for (size_t i = 0; i < out.of.size(); ++i)
      out.of[i] +=
          std::remainder(angle_of(the, t, i) - position * out.of[i], 2 * std::numbers::pi) /
          position;
    farthest = position;
  }
  out.error = 1e-6 / farthest;
  return out;
}

/// Bases that models have, where the positions are too far for a fit.
void try_usual_bases(const Case& the, Contest& contest, const PositionOf& own) {
  op::RopeTable other = the.program.rope_of(the.operation);
  const double pairs = double(other.frequency.size());
  for (const double base : {1e4, 1e5, 5e5, 1e6, 5e6, 1e7}) {
    for (size_t i = 1; i < other.frequency.size(); ++i)
      other.frequency[i] = other.frequency[0] * std::pow(base, -double(i) / pairs);
    contest.offer({"rope-base", "RoPE's base is another", fmt::format("base {:g}", base)},
                  turned(the, other, own), price::of(6));
  }
}

/// ln frequency = −ln base·i/pairs by least squares, the higher frequencies known better.
double fitted_base(const Frequencies& found) {
  const double pairs = double(found.of.size());
  double along = 0, size = 0;
  for (size_t i = 1; i < found.of.size(); ++i) {
    if (!(found.of[i] > 0)) continue;
    const double weight = found.of[i] * found.of[i], x = double(i) / pairs;
    along -= weight * x * std::log(found.of[i]);
    size += weight * x * x;
  }
  return std::exp(along / size);
}

/// The engine's own divisor of each frequency, to as few digits as its angles tell.
void try_factors(const Case& the, Contest& contest, const PositionOf& own,
                 const Frequencies& found) {
  op::RopeTable factored = the.program.rope_of(the.operation);
  double most = 1, before = 1;
  double paid = 0;  // for each factor, and where it begins
  for (size_t i = 0; i < found.of.size(); ++i) {
    const double ratio = factored.frequency[i] / found.of[i];
    if (!(ratio > 0)) return;  // it turns the other way: no factor does that
    const double error = found.error / found.of[i];
    if (std::fabs(ratio - 1) <= error) {
      before = 1;
      continue;
    }
    // The neighbour's factor, where the angles allow it; else the shortest that they allow.
    const bool as_before = before != 1 && std::fabs(before / ratio - 1) <= error;
    double factor = as_before ? before : ratio;
    int told = 8;
    for (int digits = as_before ? 0 : 8; digits >= 1; --digits)
      if (const double fewer = rounded(ratio, digits); std::fabs(fewer / ratio - 1) <= error) {
        factor = fewer;
        told = digits;
      }
    if (factor != before) paid += price::number(told) + price::of(double(found.of.size()));
    before = factor;
    factored.frequency[i] /= factor;
    most = std::max(most, factor);
  }
  contest.offer({"rope-factors", "some of RoPE's frequencies are divided",
                 fmt::format("by up to {:.4g}", most)},
                turned(the, factored, own), paid);
}

void try_frequencies(const Case& the, Contest& contest, const PositionOf& own) {
  const op::RopeTable& rope = the.program.rope_of(the.operation);
  const Frequencies found = frequencies_of(the);
  if (found.of.size() < 2) return try_usual_bases(the, contest, own);
  const size_t pairs = found.of.size();
  contest.offer_rounded(fitted_base(found), [&](double base) {
    op::RopeTable other = rope;
    for (size_t i = 0; i < pairs; ++i)
      other.frequency[i] = std::pow(base, -double(i) / double(pairs));
    return std::pair(
        Cause{"rope-base", "RoPE's base is another",
              fmt::format("base {:.8g} instead of {:.8g}", base,
                          std::pow(rope.frequency[1] / rope.frequency[0], -double(pairs)))},
        with_limits(the, turned(the, other, own)));
  });
  if (contest.decided()) return;
  contest.offer_rounded(rope.frequency[0] / found.of[0], [&](double factor) {
    op::RopeTable scaled = rope;
    for (double& frequency : scaled.frequency) frequency /= factor;
    Cause cause{"rope-scaling", "positions are scaled", fmt::format("divided by {:.7g}", factor)};
    if (factor == -1) cause = {"rope-backwards", "RoPE turns the other way", ""};
    return std::pair(cause, with_limits(the, turned(the, scaled, own)));
  });
  if (!contest.decided()) try_factors(the, contest, own, found);
}

/// The base that a plain table of these frequencies would have.
double base_of(const op::RopeTable& rope) {
  return std::pow(rope.frequency[1] / rope.frequency[0], -double(rope.frequency.size()));
}

/// Fewer lanes turn, or more: by the first of the model's frequencies, or by those of so many lanes.
void try_dimensions(const Case& the, Contest& contest, const PositionOf& own, uint32_t head_dim) {
  const op::RopeTable& rope = the.program.rope_of(the.operation);
  if (rope.frequency.size() < 2) return;
  const double base = base_of(rope);
  for (uint32_t lanes = 2; lanes <= head_dim; lanes += 2) {
    const bool usual =
        head_dim % lanes == 0 || head_dim * 3 / 4 == lanes || lanes * 2 == rope.dimensions;
    if (lanes == rope.dimensions || !usual) continue;
    op::RopeTable other = rope;
    other.dimensions = lanes;
    const std::string evidence = fmt::format("{} instead of {}", lanes, rope.dimensions);
    const char* name = lanes < rope.dimensions ? "fewer lanes turn" : "more lanes turn";
    other.frequency.resize(lanes / 2);
    for (size_t i = 0; i < other.frequency.size(); ++i)
      other.frequency[i] = rope.frequency[0] * std::pow(base, -2.0 * double(i) / lanes);
    contest.offer({"rope-dimensions", name, evidence}, turned(the, other, own), 3);
    if (lanes > rope.dimensions) continue;
    std::copy_n(rope.frequency.begin(), lanes / 2, other.frequency.begin());
    contest.offer({"rope-dimensions", name, evidence + ", by the model's first frequencies"},
                  turned(the, other, own), 3);
  }
}

double yarn_magnitude(double factor) {
  return 1 + 0.1 * std::log(factor);
}

/// YaRN (Peng et al. 2023): pairs that turn less than `slow` times in the trained context are slowed
/// by the factor, those that turn more than `fast` times are not, between them in proportion.
op::RopeTable with_yarn(const op::RopeTable& plain, double base, double factor, double context,
                        bool louder) {
  constexpr double fast = 32, slow = 1;
  op::RopeTable out = plain;
  const double lanes = double(plain.dimensions);
  const auto pair_of = [&](double turns) {
    return lanes * std::log(context / (turns * 2 * std::numbers::pi)) / (2 * std::log(base));
  };
  const double low = std::max(0.0, std::floor(pair_of(fast)));
  const double high = std::min(lanes - 1, std::ceil(pair_of(slow)));
  for (size_t i = 0; i < out.frequency.size(); ++i) {
    const double own = std::pow(base, -2.0 * double(i) / lanes);
    const double ramp = std::clamp((double(i) - low) / std::max(0.001, high - low), 0.0, 1.0);
    out.frequency[i] = own / factor * ramp + own * (1 - ramp);
  }
  out.magnitude = louder ? yarn_magnitude(factor) : 1;
  return out;
}

/// YaRN where the model has none, or the model's left out.
void try_yarn(const Case& the, Contest& contest, const PositionOf& own) {
  const op::RopeTable& rope = the.program.rope_of(the.operation);
  if (rope.frequency.size() < 2) return;
  const double base = base_of(rope);
  op::RopeTable plain = rope;
  plain.magnitude = 1;
  double apart = std::fabs(rope.magnitude - 1);
  for (size_t i = 0; i < plain.frequency.size(); ++i) {
    plain.frequency[i] = std::pow(base, -double(i) / double(plain.frequency.size()));
    apart = std::max(apart, std::fabs(plain.frequency[i] / rope.frequency[i] - 1));
  }
  if (apart > 1e-6) {
    contest.offer({"rope-yarn", "the frequencies are not scaled (YaRN)", "a plain table"},
                  turned(the, plain, own), 1);
    return;
  }
  static constexpr std::array factors = {2.0, 4.0, 8.0, 16.0, 32.0, 40.0, 64.0};
  // At few positions no slowed pair turns far enough to show: its magnitude alone is simpler.
  for (const double factor : factors) {
    op::RopeTable louder = rope;
    louder.magnitude = yarn_magnitude(factor);
    contest.offer(
        {"rope-magnitude", "cos and sin have another magnitude",
         fmt::format("{:.7g} of the model's, YaRN's for factor {:g}", louder.magnitude, factor)},
        turned(the, louder, own), price::of(double(factors.size())));
  }
  for (const double factor : factors)
    for (double context = 256; context <= 131072; context *= 2)
      for (const bool louder : {true, false}) {
        if (contest.decided()) return;
        contest.offer({"rope-yarn", "the frequencies are scaled (YaRN)",
                       fmt::format("factor {:g}, trained for {:g} positions{}", factor, context,
                                   louder ? "" : ", without its magnitude")},
                      turned(the, with_yarn(rope, base, factor, context, louder), own), 7);
      }
}

/// Another number of heads, each turned by the frequencies of its own length.
void try_head_count(const Case& the, Contest& contest, const PositionOf& own) {
  const op::RopeTable& rope = the.program.rope_of(the.operation);
  const uint32_t own_heads = the.operation.as<op::Rope>()->heads;
  const uint32_t width = uint32_t(the.got().width);
  if (rope.frequency.size() < 2 || rope.dimensions != width / own_heads) return;
  for (const uint32_t heads : {own_heads * 2, own_heads * 4, own_heads / 2, own_heads / 4}) {
    if (heads == 0 || width % heads != 0 || width / heads % 2 != 0) continue;
    op::RopeTable other = rope;
    other.dimensions = width / heads;
    other.frequency.resize(other.dimensions / 2);
    for (size_t i = 0; i < other.frequency.size(); ++i)
      other.frequency[i] = std::pow(base_of(rope), -2.0 * double(i) / other.dimensions);
    Table y(the.got().rows, the.got().width);
    for (uint64_t t = 0; t < y.rows; ++t)
      std::ranges::copy(judge::rope(the.input(0).row(t), other, heads, own(t)), y.row(t).begin());
    contest.offer({"head-count", "the number of heads is another",
                   fmt::format("{} of {} instead of {} of {}", heads, width / heads, own_heads,
                               width / own_heads)},
                  std::move(y), 2);
  }
}

/// Another table of the model, fewer lanes, another magnitude.
void try_tables(const Case& the, Contest& contest, const PositionOf& own) {
  const op::RopeTable& rope = the.program.rope_of(the.operation);
  for (const op::RopeTable& other : the.program.rope_tables)
    if (&other != &rope && !other.growth && other.dimensions <= rope.dimensions)
      contest.offer({"rope-table", "RoPE is another layer's", ""}, turned(the, other, own),
                    price::of(double(the.program.rope_tables.size())));
  const size_t heads = the.operation.as<op::Rope>()->heads, head_dim = the.got().width / heads;
  try_dimensions(the, contest, own, uint32_t(head_dim));
  double along = 0, size = 0;
  for (uint64_t t = 0; t < the.got().rows; ++t)
    for (size_t i = 0; i < the.got().width; ++i) {
      if (i % head_dim >= rope.dimensions) continue;
      along += the.got().row(t)[i] * the.usual.want.row(t)[i];
      size += the.usual.want.row(t)[i] * the.usual.want.row(t)[i];
    }
  contest.offer_rounded(along / size, [&](double factor) {
    op::RopeTable louder = rope;
    louder.magnitude *= factor;
    return std::pair(Cause{"rope-magnitude", "cos and sin have another magnitude",
                           fmt::format("{:.7g} of the model's", factor)},
                     with_limits(the, turned(the, louder, own)));
  });
}

/// What is known of the layer's rotations (of Q and K) when both are as at later positions.
struct Shifted {
  bool twin = true;     ///< in this step both are ahead by as much
  bool always = true;   ///< in every step
  bool before = false;  ///< there are steps before this one, in which this rotation is right
};

Shifted shifted_by(const Case& the, uint32_t shift) {
  Shifted out;
  bool found_twin = false;
  for (size_t i = 0; i < the.program.operations.size(); ++i) {
    const op::Operation& other = the.program.operations[i];
    if (!other.is<op::Rope>() || other.layer != the.operation.layer) continue;
    for (uint32_t step = 0; step < std::max<size_t>(1, the.steps().size()); ++step) {
      auto scene = the.scene_at(step, i);
      if (!scene) continue;
      const auto passes = [&](uint32_t by) {
        diff::Scene moved = *scene;
        for (uint32_t& position : moved.tokens.positions) position += by;
        return judge::compare(moved.output, diff::expect(the.program, moved)).failures == 0;
      };
      const bool ahead = passes(shift);
      if (&other == &the.operation && step < the.scene.step && passes(0)) out.before = true;
      if (step == the.scene.step && &other != &the.operation) {
        found_twin = true;
        out.twin = out.twin && ahead;
      }
      out.always = out.always && ahead;
    }
  }
  out.twin = out.twin && found_twin;
  return out;
}

/// Positions ahead: of Q or K alone; of both, which changes no score if it is so in every step; of
/// both in some steps, whose keys then do not fit those in the cache.
void try_ahead(const Case& the, Contest& contest, uint32_t shift) {
  const auto& positions = the.positions();
  const std::string by = fmt::format("by {}", shift);
  if (!contest.offer_of_tokens({"position-off-by-one", "positions are ahead", by},
                               turned(the, the.program.rope_of(the.operation),
                                      [&](uint64_t t) { return positions[t] + shift; }),
                               price::of(shift + 1)))
    return;
  const Shifted shifted = shifted_by(the, shift);
  if (shifted.twin && shifted.always)
    contest.rename({"position-shifted",
                    "Q and K are both turned as at later positions: no score changes", by, true});
  else if (shifted.twin || shifted.before)
    contest.rename({"position-ahead",
                    shifted.twin
                        ? "Q and K of this step are turned as at later positions, the keys "
                          "of other steps are not"
                        : "positions are ahead in this step",
                    by});
}

}  // namespace

void try_rope(const Case& the, Contest& contest) {
  const op::RopeTable& rope = the.program.rope_of(the.operation);
  const auto& positions = the.positions();
  const PositionOf own = [&](uint64_t t) { return positions[t]; };
  offer_part_of_heads(the, contest, "they are not turned", the.input(0));
  op::RopeTable other = rope;
  other.adjacent = !rope.adjacent;
  contest.offer({"rope-pairing", "RoPE turns the wrong lanes",
                 rope.adjacent ? "pairs (i, i + d/2) instead of neighbours"
                               : "neighbours instead of pairs (i, i + d/2)"},
                turned(the, other, own));
  const auto at = [&](const char* id, const char* name, std::string evidence,
                      const PositionOf& position) {
    return contest.offer_of_tokens({id, name, std::move(evidence)}, turned(the, rope, position));
  };
  if (the.tokens() > 1)
    at("position-stuck", "every token has the step's first position", "",
       [&](uint64_t) { return positions[0]; });
  if (positions[0] > 0) {
    at("position-restarts", "positions count from the step's beginning", "",
       [](uint64_t t) { return uint32_t(t); });
    at("position-stale", "the position is the step's before", "",
       [&](uint64_t t) { return positions[t] - 1; });
  }
  const auto try_shifts = [&] {
    for (uint32_t shift = 1; shift <= 128 && !contest.decided(); ++shift)
      try_ahead(the, contest, shift);
  };
  // Of one token of a later step, other frequencies can turn as far as another position does.
  const bool of_later_step = positions[0] > 0;
  if (of_later_step) try_shifts();
  if (!contest.decided()) try_tables(the, contest, own);
  if (!contest.decided()) try_head_count(the, contest, own);
  if (!of_later_step) try_shifts();
  for (uint32_t behind = 2; behind <= std::min(positions[0], 128u) && !contest.decided(); ++behind)
    at("position-stale", "the position is that of an earlier step",
       fmt::format("{} behind", behind), [&](uint64_t t) { return positions[t] - behind; });
  if (!contest.decided()) try_yarn(the, contest, own);
  if (!contest.decided()) try_frequencies(the, contest, own);
}

}  // namespace assay::diagnose
