// RoPE: rows 11, 12 and 13 of the catalogue.
#include <fmt/format.h>

#include <algorithm>
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
                  turned(the, other, own));
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
  double most = 1;
  for (size_t i = 0; i < found.of.size(); ++i) {
    const double ratio = factored.frequency[i] / found.of[i];
    if (!(ratio > 0)) return;  // it turns the other way: no factor does that
    const double error = found.error / found.of[i];
    if (std::fabs(ratio - 1) <= error) continue;
    double factor = ratio;
    for (int digits = 8; digits >= 2; --digits)
      if (const double fewer = rounded(ratio, digits); std::fabs(fewer / ratio - 1) <= error)
        factor = fewer;
    factored.frequency[i] /= factor;
    most = std::max(most, factor);
  }
  contest.offer({"rope-factors", "some of RoPE's frequencies are divided",
                 fmt::format("by up to {:.4g}", most)},
                turned(the, factored, own));
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

/// Another table of the model, fewer lanes, another magnitude.
void try_tables(const Case& the, Contest& contest, const PositionOf& own) {
  const op::RopeTable& rope = the.program.rope_of(the.operation);
  for (const op::RopeTable& other : the.program.rope_tables)
    if (&other != &rope && !other.growth && other.dimensions <= rope.dimensions)
      contest.offer({"rope-table", "RoPE is another layer's", ""}, turned(the, other, own));
  for (uint32_t lanes = rope.dimensions / 2; lanes >= 2 && lanes % 2 == 0; lanes /= 2) {
    op::RopeTable fewer = rope;
    fewer.dimensions = lanes;
    fewer.frequency.resize(lanes / 2);
    contest.offer({"rope-dimensions", "fewer lanes turn",
                   fmt::format("{} instead of {}", lanes, rope.dimensions)},
                  turned(the, fewer, own));
  }
  const size_t heads = the.operation.as<op::Rope>()->heads, head_dim = the.got().width / heads;
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

/// Whether the layer's other rotation (K's for Q, Q's for K) is ahead by as much.
bool twin_is_shifted(const Case& the, uint32_t shift) {
  for (size_t i = 0; i < the.program.operations.size(); ++i) {
    const op::Operation& other = the.program.operations[i];
    if (!other.is<op::Rope>() || other.layer != the.operation.layer || &other == &the.operation)
      continue;
    auto scene = the.scene_at(the.scene.step, i);
    if (!scene) return false;
    for (uint32_t& position : scene->tokens.positions) position += shift;
    return judge::compare(scene->output, diff::expect(the.program, *scene)).failures == 0;
  }
  return false;
}

/// A neighbour of the case's step whose positions are not ahead by `shift`: "step 2"; empty where all
/// are, or there is none. Keys of steps that are all ahead alike meet queries that are, too, and no
/// score changes; between steps that are not, every score does.
std::string step_not_ahead(const Case& the, int64_t shift) {
  const auto steps = int64_t(the.steps().size());
  const auto index = size_t(&the.operation - the.program.operations.data());
  for (const int64_t other : {int64_t(the.scene.step) - 1, int64_t(the.scene.step) + 1}) {
    if (other < 0 || other >= steps) continue;
    auto scene = the.scene_at(uint32_t(other), index);
    if (!scene || int64_t(scene->tokens.positions[0]) + shift < 0) continue;
    for (uint32_t& position : scene->tokens.positions) position += uint32_t(shift);
    if (judge::compare(scene->output, diff::expect(the.program, *scene)).failures > 0)
      return fmt::format("step {}", other);
  }
  return "";
}

/// Q and K are both ahead.
Cause ahead_of(const Case& the, uint32_t shift) {
  const std::string other = step_not_ahead(the, shift);
  if (other.empty())
    return {"position-shifted", "Q and K are both turned as at later positions: no score changes",
            fmt::format("by {}", shift), true};
  return {"position-ahead", "the positions of one step are ahead of those that the others use",
          fmt::format("by {} in step {}, not in {}; {} tokens came before step {}", shift,
                      the.scene.step, other, the.positions()[0], the.scene.step)};
}

}  // namespace

void try_rope(const Case& the, Contest& contest) {
  const op::RopeTable& rope = the.program.rope_of(the.operation);
  const auto& positions = the.positions();
  const PositionOf own = [&](uint64_t t) { return positions[t]; };
  op::RopeTable other = rope;
  other.adjacent = !rope.adjacent;
  contest.offer({"rope-pairing", "RoPE turns the wrong lanes",
                 rope.adjacent ? "pairs (i, i + d/2) instead of neighbours"
                               : "neighbours instead of pairs (i, i + d/2)"},
                turned(the, other, own));
  const auto at = [&](const char* id, const char* name, std::string evidence,
                      const PositionOf& position) {
    return contest.offer({id, name, std::move(evidence)}, turned(the, rope, position));
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
      if (at("position-off-by-one", "positions are ahead", fmt::format("by {}", shift),
             [&](uint64_t t) { return positions[t] + shift; }) &&
          twin_is_shifted(the, shift))
        contest.rename(ahead_of(the, shift));
  };
  // Of one token of a later step, other frequencies can turn as far as another position does.
  if (positions[0] > 0) try_shifts();
  if (!contest.decided()) try_tables(the, contest, own);
  if (!contest.decided()) try_frequencies(the, contest, own);
  try_shifts();
  for (uint32_t behind = 2; behind <= std::min(positions[0], 128u) && !contest.decided(); ++behind)
    at("position-stale", "the position is that of an earlier step",
       fmt::format("{} behind", behind), [&](uint64_t t) { return positions[t] - behind; });
}

}  // namespace assay::diagnose
