#include <algorithm>
#include <limits>
#include <numeric>

#include "judge/kind.h"

namespace assay::judge {

namespace {

using Ids = std::vector<uint32_t>;

/// A NaN is chosen, so that nothing hides it.
double or_infinity(double value) {
  return std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
}

/// What a router knows of its experts.
struct Scores {
  std::vector<double> probability;  ///< softmax or sigmoid of the logits
  std::vector<double> choice;       ///< what the choice goes by
};

double sigmoid(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

Scores scores_of(std::span<const double> logits, std::span<const double> b,
                 const op::Route& router) {
  Scores scores;
  if (router.sigmoid)
    for (double x : logits) scores.probability.push_back(sigmoid(x));
  else
    scores.probability = softmax(logits);
  scores.choice.assign(logits.begin(), logits.end());
  for (size_t e = 0; e < b.size(); ++e) scores.choice[e] = scores.probability[e] + b[e];
  for (double& value : scores.choice) value = or_infinity(value);
  return scores;
}

/// The `count` highest, highest first, of equals the lower index first.
Ids best(std::span<const double> values, size_t count) {
  Ids order(values.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::stable_sort(order, [&](uint32_t a, uint32_t b) { return values[a] > values[b]; });
  order.resize(count);
  return order;
}

std::vector<double> group_values(std::span<const double> choice, const op::Route& router) {
  const size_t size = choice.size() / router.groups;
  std::vector<double> values;
  for (size_t g = 0; g < router.groups; ++g) {
    const auto group = choice.subspan(g * size, size);
    const Ids top = best(group, router.by_two ? 2 : 1);
    values.push_back(or_infinity(group[top[0]] + (router.by_two ? group[top[1]] : 0.0)));
  }
  return values;
}

Ids choose(std::span<const double> choice, const op::Route& router) {
  const size_t size = choice.size() / router.groups;
  Ids groups = best(group_values(choice, router), router.used_groups), candidates;
  std::ranges::sort(groups);
  std::vector<double> values;
  for (uint32_t g : groups)
    for (size_t e = g * size; e < (g + 1) * size; ++e) {
      candidates.push_back(uint32_t(e));
      values.push_back(choice[e]);
    }
  Ids chosen;
  for (uint32_t i : best(values, router.used)) chosen.push_back(candidates[i]);
  return chosen;
}

/// Whether an engine whose choice values may be off by `off` can have chosen these ids.
bool could_choose(const Ids& ids, std::span<const double> choice, std::span<const double> off,
                  const op::Route& router, bool in_order) {
  std::vector<bool> taken(choice.size(), false);
  for (uint32_t e : ids) {
    if (e >= choice.size() || taken[e]) return false;
    taken[e] = true;
  }
  const double most_off = *std::ranges::max_element(off);
  const size_t size = choice.size() / router.groups;
  const std::vector<double> groups = group_values(choice, router);
  const double last_group = groups[best(groups, router.used_groups).back()];
  const double group_off = router.groups > 1 ? 4.0 * most_off : 0.0;
  double least = std::numeric_limits<double>::infinity();
  for (size_t u = 0; u < ids.size(); ++u) {
    const uint32_t e = ids[u];
    if (groups[e / size] < last_group - group_off) return false;
    if (in_order && u > 0 && choice[e] - off[e] > choice[ids[u - 1]] + off[ids[u - 1]])
      return false;
    least = std::min(least, choice[e] + off[e]);
  }
  // Groups that may as well be left out say nothing; where all are used, none is.
  const bool all = router.used_groups == router.groups;
  for (size_t e = 0; e < choice.size(); ++e)
    if (!taken[e] && (all || groups[e / size] > last_group + group_off) &&
        choice[e] - off[e] > least)
      return false;
  return true;
}

std::vector<double> probabilities_of(const Ids& chosen, std::span<const double> logits,
                                     const Scores& scores, const op::Route& router) {
  std::vector<double> values;
  for (uint32_t e : chosen) values.push_back(router.of_chosen ? logits[e] : scores.probability[e]);
  return router.of_chosen ? softmax(values) : values;
}

/// What probabilities are divided by.
double divisor_of(std::span<const double> probabilities, const op::Route& router) {
  if (!router.renormalise) return 1.0;
  return std::max(std::accumulate(probabilities.begin(), probabilities.end(), 0.0), absolute_floor);
}

std::vector<double> weights_of(const Ids& chosen, std::span<const double> logits,
                               const Scores& scores, const op::Route& router) {
  std::vector<double> weights = probabilities_of(chosen, logits, scores, router);
  const double factor = double(router.scale) / divisor_of(weights, router);
  for (double& weight : weights) weight *= factor;
  return weights;
}

/// In u of each weight, what a softmax loses whose exp is 0 below −50: less than 2^-72 of a
/// probability, which the scale or a small sum lifts above the floor, and as much of the sum.
std::vector<double> lost_of(std::span<const double> probabilities, const op::Route& router) {
  std::vector<double> lost(probabilities.size(), 0.0);
  if (router.sigmoid) return lost;
  double of_sum = 0;
  for (size_t u = 0; u < lost.size(); ++u) {
    if (!(probabilities[u] < absolute_floor)) continue;
    of_sum += absolute_floor;
    if (probabilities[u] > 0) lost[u] = absolute_floor / (probabilities[u] * unit);
  }
  if (router.renormalise)
    for (double& u : lost) u += of_sum / (divisor_of(probabilities, router) * unit);
  return lost;
}

/// How far an engine's choice values may be off, absolute. assay/1 compares the logits themselves;
/// other engines compare probabilities.
std::vector<double> choice_errors(std::span<const double> logits, std::span<const double> b,
                                  const Scores& scores, const op::Route& router,
                                  const Arithmetic& arithmetic) {
  const double largest = *std::ranges::max_element(logits);
  std::vector<double> off(logits.size(), 0.0);
  for (size_t e = 0; e < off.size(); ++e) {
    const double below = router.sigmoid ? std::fabs(logits[e]) : largest - logits[e];
    const double u = 8.0 + below + foreign(arithmetic) +
                     (arithmetic.goes_on_in_f64 ? 2.0 * std::fabs(logits[e]) : 0.0);
    if (!b.empty())
      off[e] = unit * ((u + 1.0) * scores.probability[e] + std::fabs(b[e]));
    else if (!arithmetic.own || arithmetic.goes_on_in_f64)
      off[e] = unit * (u + std::fabs(logits[e]));
  }
  return off;
}

/// The chosen ids, then their weights.
std::vector<double> routing_of(const Ids& chosen, std::span<const double> logits,
                               const Scores& scores, const op::Route& router) {
  std::vector<double> row(chosen.begin(), chosen.end());
  const std::vector<double> weights = weights_of(chosen, logits, scores, router);
  row.insert(row.end(), weights.begin(), weights.end());
  return row;
}

}  // namespace

std::vector<double> route(std::span<const double> logits, std::span<const double> b,
                          const op::Route& router, std::span<const uint32_t> chosen) {
  const Scores scores = scores_of(logits, b, router);
  const Ids ids =
      chosen.empty() ? choose(scores.choice, router) : Ids(chosen.begin(), chosen.end());
  return routing_of(ids, logits, scores, router);
}

template <>
Table formula_of(const Subject& subject, const op::Route& p) {
  const std::vector<double> b = subject.bias();
  return by_row(subject.x().rows, 2 * uint64_t(p.used),
                [&](uint64_t t) { return route(subject.x().row(t), b, p); });
}

/// Ids are exact; where the engine's own choice could be made by its arithmetic, it is that choice
/// whose weights are wanted. Weights in u of themselves: exp 4 and, of its argument's rounding, as
/// many as the argument is far below the maximum, for the weight and on average for the sum; the sum
/// √n/4 as in a norm; then quotient, renormalisation (as many roundings as are chosen) and scale.
template <>
Judged expect_of(const Subject& subject, const op::Route& p, const Coding&,
                 const Arithmetic& arithmetic) {
  const std::vector<double> b = subject.bias();
  const Table& x = subject.x();
  Judged out{Table(x.rows, 2 * uint64_t(p.used)), {}, {}, {}};
  out.scale = Table(x.rows, out.want.width);
  out.limit = Table(x.rows, out.want.width);
  const Table* got = subject.inputs.got;
  for (uint64_t t = 0; t < x.rows; ++t) {
    const auto logits = x.row(t);
    const Scores scores = scores_of(logits, b, p);
    Ids ids = choose(scores.choice, p);
    if (got && got->rows == x.rows && got->width == out.want.width) {
      Ids theirs;
      for (double id : got->row(t).first(p.used))
        theirs.push_back(id >= 0 && id < double(x.width) && id == std::floor(id)
                             ? uint32_t(id)
                             : std::numeric_limits<uint32_t>::max());
      const auto off = choice_errors(logits, b, scores, p, arithmetic);
      if (could_choose(theirs, scores.choice, off, p, arithmetic.own)) ids = std::move(theirs);
    }
    const auto row = out.want.row(t);
    std::ranges::copy(routing_of(ids, logits, scores, p), row.begin());
    double farthest = 0, average = 0, widest = 0;
    const double largest = *std::ranges::max_element(logits);
    for (size_t e = 0; e < logits.size(); ++e)
      average += scores.probability[e] * (p.sigmoid ? 0.0 : largest - logits[e]);
    for (uint32_t u = 0; u < p.used; ++u) {
      const double logit = logits[size_t(row[u])];
      farthest = std::max(farthest, p.sigmoid ? 0.0 : largest - logit);
      widest = std::max(widest, std::fabs(logit));
    }
    const double limit = 16.0 + std::sqrt(double(x.width)) / 4.0 + farthest + average +
                         (p.renormalise ? farthest + 8.0 + double(p.used) : 0.0) +
                         foreign(arithmetic) +
                         (arithmetic.goes_on_in_f64 ? 4.0 * widest + 2.0 : 0.0);
    const auto lost = lost_of(probabilities_of(ids, logits, scores, p), p);
    for (uint32_t u = 0; u < p.used; ++u) {
      out.scale.row(t)[u] = row[u];
      out.scale.row(t)[p.used + u] = std::fabs(row[p.used + u]);
      out.limit.row(t)[p.used + u] = limit + lost[u];
    }
  }
  return out;
}

}  // namespace assay::judge
