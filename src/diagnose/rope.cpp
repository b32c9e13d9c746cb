// RoPE: rows 11, 12 and 13 of the catalogue.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "diagnose/case.h"

namespace assay::diagnose {

using reference::Table;

namespace {

using PositionOf = std::function<uint32_t(uint64_t token)>;

Table turned(const Case& the, const op::Rope& rope, const PositionOf& position) {
  const Table& x = the.input(0);
  Table y(x.rows, x.width);
  for (uint64_t t = 0; t < x.rows; ++t)
    std::ranges::copy(reference::rope(x.row(t), rope, the.operation.heads, position(t)),
                      y.row(t).begin());
  return y;
}

/// Angle by which the engine turned pair i of the first head that shows it, at token t; NaN where
/// none does.
double angle_of(const Case& the, uint64_t t, size_t pair) {
  const op::Rope& rope = the.program.rope;
  const auto x = the.input(0).row(t), y = the.got().row(t);
  const size_t head_dim = x.size() / the.operation.heads, half = rope.dimensions / 2;
  double cross = 0, dot = 0;
  for (size_t head = 0; head < the.operation.heads; ++head) {
    const size_t a = head * head_dim + (rope.adjacent ? 2 * pair : pair);
    const size_t b = a + (rope.adjacent ? 1 : half);
    cross += x[a] * y[b] - x[b] * y[a];
    dot += x[a] * y[a] + x[b] * y[b];
  }
  return std::atan2(cross, dot);
}

/// What the engine's frequencies are, from the token at the smallest position above 0: empty where
/// that is too far for angles to tell (they come back after 2π).
std::vector<double> frequencies_of(const Case& the) {
  const auto& positions = the.positions();
  uint64_t best = UINT64_MAX;
  for (uint64_t t = 0; t < positions.size(); ++t)
    if (positions[t] > 0 && (best == UINT64_MAX || positions[t] < positions[best])) best = t;
  if (best == UINT64_MAX || positions[best] > 2) return {};
  std::vector<double> out;
  for (size_t i = 0; i < the.program.rope.frequency.size(); ++i)
    out.push_back(angle_of(the, best, i) / double(positions[best]));
  return out;
}

double two_digits(double x) {
  const double size = std::pow(10.0, std::floor(std::log10(std::fabs(x))) - 2);
  return std::round(x / size) * size;
}

/// Bases that models have, where the positions are too far for a fit.
void try_usual_bases(const Case& the, Contest& contest, const PositionOf& own) {
  op::Rope other = the.program.rope;
  const double pairs = double(other.frequency.size());
  for (const double base : {1e4, 1e5, 5e5, 1e6, 5e6, 1e7}) {
    for (size_t i = 1; i < other.frequency.size(); ++i)
      other.frequency[i] = other.frequency[0] * std::pow(base, -double(i) / pairs);
    contest.offer({"rope-base", "RoPE's base is another", fmt::format("base {:g}", base)},
                  turned(the, other, own));
  }
}

void try_frequencies(const Case& the, Contest& contest, const PositionOf& own) {
  const op::Rope& rope = the.program.rope;
  const std::vector<double> found = frequencies_of(the);
  if (found.size() < 2) return try_usual_bases(the, contest, own);
  const size_t pairs = found.size();
  // Base: −ln(frequency)·d/(2i), from a pair in the middle, where it is neither 1 nor tiny.
  const size_t middle = std::max<size_t>(1, pairs / 4);
  if (found[middle] > 0) {
    const double base =
        two_digits(std::exp(-std::log(found[middle]) * double(pairs) / double(middle)));
    op::Rope other = rope;
    for (size_t i = 0; i < pairs; ++i)
      other.frequency[i] = std::pow(base, -double(i) / double(pairs));
    contest.offer({"rope-base", "RoPE's base is another",
                   fmt::format("base {:g} instead of {:g}", base,
                               std::pow(rope.frequency[1], -double(pairs)))},
                  turned(the, other, own));
  }
  const double factor = two_digits(rope.frequency[0] / found[0]);
  op::Rope scaled = rope;
  for (double& frequency : scaled.frequency) frequency /= factor;
  if (factor > 0)
    contest.offer({"rope-scaling", "positions are scaled", fmt::format("divided by {:g}", factor)},
                  turned(the, scaled, own));
  // Factors: each pair its own; those that are off by less than angles tell are the model's.
  op::Rope factored = rope;
  double most = 1;
  for (size_t i = 0; i < pairs; ++i) {
    const double ratio = rope.frequency[i] / found[i];
    if (ratio < 0) return;  // it turns the other way: no factor does that
    if (!(std::fabs(ratio - 1) > 1e-2)) continue;
    factored.frequency[i] = rope.frequency[i] / two_digits(ratio);
    most = std::max(most, two_digits(ratio));
  }
  contest.offer({"rope-factors", "some of RoPE's frequencies are divided",
                 fmt::format("by up to {:g}", most)},
                turned(the, factored, own));
}

/// Whether the layer's other rotation (K's for Q, Q's for K) is ahead by as much.
bool twin_is_shifted(const Case& the, uint32_t shift) {
  for (size_t i = 0; i < the.program.operations.size(); ++i) {
    const op::Operation& other = the.program.operations[i];
    if (other.kind != op::Kind::rope || other.layer != the.operation.layer ||
        &other == &the.operation)
      continue;
    auto scene = the.scene_at(the.scene.step, i);
    if (!scene) return false;
    for (uint32_t& position : scene->tokens.positions) position += shift;
    return diff::compare(scene->output, diff::judge(the.program, *scene)).failures == 0;
  }
  return false;
}

}  // namespace

void try_rope(const Case& the, Contest& contest) {
  const op::Rope& rope = the.program.rope;
  const auto& positions = the.positions();
  const PositionOf own = [&](uint64_t t) { return positions[t]; };
  op::Rope other = rope;
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
  try_frequencies(the, contest, own);
  for (uint32_t shift = 1; shift <= 128 && !contest.decided(); ++shift)
    if (at("position-off-by-one", "positions are ahead", fmt::format("by {}", shift),
           [&](uint64_t t) { return positions[t] + shift; }) &&
        twin_is_shifted(the, shift))
      contest.rename({"position-shifted",
                      "Q and K are both turned as at later positions: no score "
                      "changes",
                      fmt::format("by {}", shift), true});
}

}  // namespace assay::diagnose
