#include "fault/experts.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <numeric>

#include "fault/operations.h"
#include "lang/activation.h"
#include "lang/math.h"

namespace assay::fault {

namespace {

using Ids = std::vector<uint32_t>;

constexpr float infinity = std::numeric_limits<float>::infinity();

/// The `count` highest, highest first, of equals the lower index.
Ids highest(const Floats& values, size_t count) {
  Ids ids(values.size());
  std::iota(ids.begin(), ids.end(), 0u);
  std::stable_sort(ids.begin(), ids.end(),
                   [&](uint32_t a, uint32_t b) { return values[a] > values[b]; });
  ids.resize(count);
  return ids;
}

float largest_of(std::span<const float> x) {
  float largest = -infinity;
  for (const float value : x) largest = value > largest || value != value ? value : largest;
  return largest;
}

/// e^(x − max x) over their sum.
Floats softmax_of(std::span<const float> x) {
  const float largest = largest_of(x);
  Floats p(x.size());
  for (size_t i = 0; i < p.size(); ++i) p[i] = k_exp(x[i] - largest);
  const float sum = lane_sum(p, false);
  for (float& value : p) value /= sum;
  return p;
}

/// The same over the chosen, added one after another.
Floats softmax_in_order(std::span<const float> x) {
  const float largest = largest_of(x);
  Floats p;
  float sum = 0;
  for (const float value : x) {
    p.push_back(k_exp(value - largest));
    sum = p.size() == 1 ? p[0] : sum + p.back();
  }
  for (float& value : p) value /= sum;
  return p;
}

Floats probabilities(std::span<const float> logits, bool by_sigmoid) {
  if (!by_sigmoid) return softmax_of(logits);
  Floats p;
  for (const float x : logits) p.push_back(sigmoid<OneLane>(x));
  return p;
}

/// Whether each group may be chosen from.
std::vector<bool> open_groups(const Floats& choice, const op::Route& router) {
  const size_t size = choice.size() / router.groups;
  Floats values;
  for (size_t g = 0; g < router.groups; ++g) {
    const Floats group(choice.begin() + int64_t(g * size),
                       choice.begin() + int64_t((g + 1) * size));
    const Ids best = highest(group, router.by_two ? 2 : 1);
    values.push_back(router.by_two ? group[best[0]] + group[best[1]] : group[best[0]]);
  }
  std::vector<bool> open(router.groups, false);
  for (const uint32_t g : highest(values, router.used_groups)) open[g] = true;
  return open;
}

Ids chosen_by(std::span<const float> logits, const Floats& p, std::span<const float> b,
              const op::Route& router, Active fault) {
  Floats choice(logits.begin(), logits.end());
  if (!b.empty() && !fault.is(Bug::route_bias_ignored))
    for (size_t e = 0; e < choice.size(); ++e) choice[e] = p[e] + b[e];
  for (float& value : choice)
    if (value != value) value = infinity;
  Ids ids = highest(choice, choice.size());
  if (router.used_groups < router.groups && !fault.is(Bug::route_groups_ignored)) {
    const std::vector<bool> open = open_groups(choice, router);
    std::erase_if(ids, [&](uint32_t e) { return !open[e / (choice.size() / router.groups)]; });
  }
  ids.resize(router.used);
  return ids;
}

void renormalise(Floats& weights) {
  float sum = weights[0];
  for (size_t u = 1; u < weights.size(); ++u) sum += weights[u];
  for (float& weight : weights) weight /= sum < k_floor_limit ? k_floor_limit : sum;
}

}  // namespace

Floats route(std::span<const float> logits, std::span<const float> b, const op::Route& router,
             Active fault) {
  const bool other = fault.is(Bug::route_other_function);
  const bool of_chosen = other && !router.sigmoid ? !router.of_chosen : bool(router.of_chosen);
  const Floats p = probabilities(logits, router.sigmoid && !other);
  Ids ids = chosen_by(logits, p, b, router, fault);
  Floats weights;
  for (const uint32_t e : ids) weights.push_back(of_chosen ? logits[e] : p[e]);
  if (of_chosen) weights = softmax_in_order(weights);
  if (fault.is(Bug::route_bias_in_weight))
    for (size_t u = 0; u < ids.size(); ++u) weights[u] += b[ids[u]];
  if (fault.is(Bug::route_one_short)) weights.back() = 0;
  if (fault.is(Bug::route_renormalised) ||
      (router.renormalise && !fault.is(Bug::route_not_renormalised)))
    renormalise(weights);
  Floats row(ids.begin(), ids.end());
  for (float weight : weights) {
    if (router.scale != 1 && !fault.is(Bug::route_scale_missing)) weight *= router.scale;
    row.push_back(k_floor_tiny(weight));
  }
  return row;
}

std::vector<uint32_t> experts_of(std::span<const float> routing, uint32_t experts) {
  std::vector<uint32_t> ids;
  for (const float id : routing.first(routing.size() / 2))
    ids.push_back(id >= 0 && id < float(experts) ? uint32_t(id) : experts);
  return ids;
}

Floats multiply_experts(const std::vector<Matrix>& matrices, const Floats& bias,
                        std::span<const float> x, std::span<const float> routing, uint64_t tokens,
                        bool quantised, Active fault) {
  const uint64_t rows = matrices[0].rows, columns = matrices[0].columns;
  const uint64_t width = routing.size() / tokens, used = width / 2;
  const auto count = uint32_t(matrices.size());
  struct Place {
    uint64_t token, slot;
  };
  std::vector<std::vector<Place>> places(count);
  for (uint64_t t = 0; t < tokens; ++t) {
    const uint64_t from = fault.is(Bug::expert_of_first_token) ? 0 : t;
    const Ids ids = experts_of(routing.subspan(from * width, width), count);
    for (uint64_t slot = 0; slot < used; ++slot) {
      uint32_t expert = ids[slot];
      if (expert < count && fault.is(Bug::expert_off_by_one)) expert = (expert + 1) % count;
      if (expert < count) places[expert].push_back({t, slot});
    }
  }
  Floats y(tokens * used * rows, std::numeric_limits<float>::quiet_NaN());
  const bool per_slot = x.size() / tokens != columns;
  for (uint32_t expert = 0; expert < count; ++expert) {
    Floats input;
    for (const Place& place : places[expert]) {
      const auto row = per_slot ? x.subspan((place.token * used + place.slot) * columns, columns)
                                : x.subspan(place.token * columns, columns);
      input.insert(input.end(), row.begin(), row.end());
    }
    if (input.empty()) continue;
    const Floats own = bias.empty() || fault.is(Bug::bias_missing)
                           ? Floats()
                           : Floats(bias.begin() + int64_t(expert * rows),
                                    bias.begin() + int64_t((expert + 1) * rows));
    Floats product = multiply(matrices[expert], own, input, quantised, fault);
    const uint64_t listed = places[expert].size(), tile = uint64_t(fault.value);
    if (fault.is(Bug::expert_tail) && listed > tile)
      std::fill(product.begin() + int64_t(listed / tile * tile * rows), product.end(), 0.0f);
    for (uint64_t i = 0; i < listed; ++i)
      std::copy_n(
          product.begin() + int64_t(i * rows), rows,
          y.begin() + int64_t((places[expert][i].token * used + places[expert][i].slot) * rows));
  }
  return y;
}

Floats scale_experts(std::span<const float> x, std::span<const float> routing,
                     std::span<const float> w, std::span<const float> b, Active fault) {
  const Ids ids = experts_of(routing, uint32_t(w.size()));
  const size_t width = x.size() / ids.size();
  Floats y;
  for (size_t i = 0; i < x.size(); ++i) {
    const uint32_t e = ids[i / width];
    if (e == w.size()) {
      y.push_back(std::numeric_limits<float>::quiet_NaN());
      continue;
    }
    y.push_back(fault.is(Bug::expert_scale_missing) ? x[i] : x[i] * w[e]);
    if (!b.empty()) y.back() += b[e * width + i % width];
  }
  return y;
}

namespace {

/// What a slot's values are multiplied by; 1 where it is left out.
float weight_of(std::span<const float> routing, size_t slot, Active fault) {
  const float weight = routing[routing.size() / 2 + slot];
  if (fault.is(Bug::experts_weighted_twice)) return weight * weight;
  return fault.choose(Bug::experts_unweighted, 1.0f, weight);
}

}  // namespace

Floats spread_experts(std::span<const float> x, std::span<const float> routing, Active fault) {
  Floats y;
  for (size_t slot = 0; slot < routing.size() / 2; ++slot)
    for (const float value : x) y.push_back(k_floor_tiny(value * weight_of(routing, slot, fault)));
  return y;
}

Floats mix_experts(std::span<const float> x, std::span<const float> routing,
                   const op::MixExperts& p, Active fault) {
  const size_t used = routing.size() / 2, width = x.size() / used;
  Floats y(width);
  for (size_t i = 0; i < width; ++i) {
    y[i] = p.weighted ? x[i] * weight_of(routing, 0, fault) : x[i];
    for (size_t slot = 1; slot < used; ++slot) {
      const float value = x[slot * width + i];
      y[i] = p.weighted ? k_fma(value, weight_of(routing, slot, fault), y[i]) : y[i] + value;
    }
    y[i] = k_floor_tiny(y[i]);
  }
  return y;
}

}  // namespace assay::fault
