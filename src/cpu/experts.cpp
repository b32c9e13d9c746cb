#include "cpu/experts.h"

#include <limits>

#include "lang/math.h"

namespace assay::cpu {

namespace {

/// A NaN is chosen, so that nothing hides it.
float or_infinity(float x) {
  return x == x ? x : std::numeric_limits<float>::infinity();
}

/// The index of the highest value that is not left out; of equals the lowest.
size_t best(std::span<const float> values, const std::vector<bool>& out) {
  size_t found = values.size();
  for (size_t i = 0; i < values.size(); ++i)
    if (!out[i] && (found == values.size() || values[i] > values[found])) found = i;
  return found;
}

/// The highest value, or RN(highest + second).
float value_of_group(std::span<const float> choice, bool by_two) {
  std::vector<bool> out(choice.size(), false);
  const size_t first = best(choice, out);
  if (!by_two) return choice[first];
  out[first] = true;
  return or_infinity(choice[first] + choice[best(choice, out)]);
}

/// Softmax over the chosen logits, in the order of choice; the ids stand in the routing.
void softmax_of_chosen(std::span<const float> logits, std::span<const float> ids,
                       std::span<float> weights) {
  float largest = logits[size_t(ids[0])], sum = 0.0f;
  for (const float id : ids) largest = logits[size_t(id)] > largest ? logits[size_t(id)] : largest;
  for (size_t u = 0; u < ids.size(); ++u) {
    weights[u] = k_exp(logits[size_t(ids[u])] - largest);
    sum = u == 0 ? weights[u] : sum + weights[u];
  }
  for (float& weight : weights) weight = weight / sum;
}

void renormalise(std::span<float> weights) {
  float sum = weights[0];
  for (const float weight : weights.subspan(1)) sum = sum + weight;
  if (sum < k_floor_limit) sum = k_floor_limit;
  for (float& weight : weights) weight = weight / sum;
}

}  // namespace

void Chooser::leave_out_groups(const op::Route& router) {
  const size_t size = choice_.size() / router.groups;
  group_.resize(router.groups);
  for (size_t g = 0; g < router.groups; ++g)
    group_[g] = value_of_group(std::span(choice_).subspan(g * size, size), router.by_two);
  std::vector<bool> used(router.groups, false);
  for (uint32_t i = 0; i < router.used_groups; ++i) used[best(group_, used)] = true;
  for (size_t e = 0; e < choice_.size(); ++e) out_[e] = !used[e / size];
}

void Chooser::choose(const op::Route& router, std::span<const float> logits, const float* p,
                     const float* bias, float* routing) {
  choice_.resize(logits.size());
  for (size_t e = 0; e < logits.size(); ++e)
    choice_[e] = or_infinity(bias ? p[e] + bias[e] : logits[e]);
  out_.assign(logits.size(), false);
  if (router.used_groups < router.groups) leave_out_groups(router);
  const std::span<float> ids(routing, router.used), weights(routing + router.used, router.used);
  for (uint32_t u = 0; u < router.used; ++u) {
    const size_t e = best(choice_, out_);
    out_[e] = true;
    ids[u] = float(e);
    weights[u] = p[e];
  }
  if (router.of_chosen) softmax_of_chosen(logits, ids, weights);
  if (router.renormalise) renormalise(weights);
  for (float& weight : weights)
    weight = k_floor_tiny(router.scale != 1.0f ? weight * router.scale : weight);
}

void ExpertRows::make(std::span<const float> routings, uint32_t used, uint32_t experts,
                      uint64_t key) {
  if (key == key_ && experts == experts_) return;
  key_ = key;
  experts_ = experts;
  const size_t tokens = routings.size() / (2 * size_t(used));
  // first_[e + 1] counts, then sums up to where e begins, then moves to where it ends.
  first_.assign(experts + 3, 0);
  const auto id = [&](size_t token, uint32_t slot) {
    return expert_of(routings[token * 2 * used + slot], experts);
  };
  for (size_t t = 0; t < tokens; ++t)
    for (uint32_t u = 0; u < used; ++u) ++first_[id(t, u) + 2];
  for (size_t e = 1; e < first_.size(); ++e) first_[e] += first_[e - 1];
  places_.resize(tokens * used);
  for (size_t t = 0; t < tokens; ++t)
    for (uint32_t u = 0; u < used; ++u) places_[first_[id(t, u) + 1]++] = uint32_t(t * used + u);
  first_.pop_back();
  chosen_.clear();
  for (uint32_t e = 0; e < experts; ++e)
    if (!of(e).empty()) chosen_.push_back(e);
}

}  // namespace assay::cpu
