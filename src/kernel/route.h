// Chooses each token's experts from their logits (op::Route). One simd a token; choice values and
// ids are one key that orders as an integer, so that the next best is the highest key below the last.
#pragma once

#include "kernel/words.h"
#include "lang/activation.h"

namespace assay {

K_TABLE uint32_t most_experts = 512;  // that a router chooses from

struct RouteArgs {
  K_DEV const float* x;     // (tokens, experts)
  K_DEV const float* bias;  // (experts), or null
  K_DEV float* y;           // (tokens, 2·used): ids, then weights
  uint32_t experts, used, groups, used_groups;
  uint32_t by_two, sigmoid, of_chosen, renormalise;  // 0 or 1
  float scale;
  uint32_t unused;
};
static_assert(sizeof(RouteArgs) == 64, "the host and every device agree");

struct RouteShared {
  float probability[512], choice[512];
  uint32_t order[512];        // of the choice values; 0: not to be chosen
  uint32_t group_order[512];  // of the groups' values
  uint32_t ids[512];          // in the order of choice
  float weights[512];         // of these
};

/// Ascends with x; of NaN that of +infinity. Never 0.
K_FN uint32_t order_of(float x) {
  const uint32_t bits = x == x ? k_bits(x) : 0x7f800000u;
  const uint32_t plain = (bits & 0x7fffffffu) == 0u ? 0u : bits;  // +0 and −0 are equal
  return (plain & 0x80000000u) != 0u ? ~plain : plain | 0x80000000u;
}
/// Descends with the index where orders are equal.
K_FN uint64_t choice_key(uint32_t order, uint32_t index) {
  return (uint64_t(order) << 32) | uint64_t(~index);
}
K_FN uint32_t index_of_key(uint64_t key) {
  return ~uint32_t(key);
}
/// The highest key of `count` orders that lies below `last`, in every lane.
K_FN uint64_t next_best(K_GROUP const uint32_t* order, uint32_t count, uint64_t last,
                        uint32_t lane) {
  uint64_t best = 0u;
  for (uint32_t i = lane; i < count; i += lanes) {
    const uint64_t key = choice_key(order[i], i);
    best = key < last && key > best ? key : best;
  }
  for (uint32_t mask = 16u; mask >= 1u; mask /= 2u) {
    const uint64_t low = shuffle_xor(uint32_t(best), mask);
    const uint64_t high = shuffle_xor(uint32_t(best >> 32), mask);
    const uint64_t other = (high << 32) | low;
    best = other > best ? other : best;
  }
  return best;
}

/// Softmax or sigmoid of the logits; each lane writes what it reads.
K_FN void route_probabilities(K_CONST const RouteArgs& a, K_GROUP RouteShared& s,
                              K_DEV const float* x, uint32_t lane) {
  if (a.sigmoid != 0u) {
    for (uint32_t i = lane; i < a.experts; i += lanes) s.probability[i] = sigmoid<OneLane>(x[i]);
    return;
  }
  float m = k_float(0xff800000u), sum = 0.0f;
  for (uint32_t i = lane; i < a.experts; i += lanes) m = x[i] > m ? x[i] : m;
  m = simd_max_ordered(m);
  for (uint32_t i = lane; i < a.experts; i += lanes) {
    const float e = k_exp(x[i] - m);
    s.probability[i] = e;
    sum = sum + e;
  }
  sum = simd_sum_ordered(sum);
  for (uint32_t i = lane; i < a.experts; i += lanes)
    s.probability[i] = k_div(s.probability[i], sum);
}

/// The lowest key of the groups that stay; 0: all do. The choice values are there.
K_FN uint64_t least_group(K_CONST const RouteArgs& a, K_GROUP RouteShared& s, uint32_t lane) {
  if (a.used_groups == a.groups) return 0u;
  const uint32_t size = a.experts / a.groups;
  for (uint32_t g = lane; g < a.groups; g += lanes) {
    float best = k_float(0xff800000u), second = best;
    for (uint32_t i = g * size; i < (g + 1u) * size; ++i) {
      const float value = s.choice[i];
      second = value > best ? best : (value > second ? value : second);
      best = value > best ? value : best;
    }
    s.group_order[g] = order_of(a.by_two != 0u ? best + second : best);
  }
  barrier_group();
  uint64_t last = ~uint64_t(0);
  for (uint32_t i = 0u; i < a.used_groups; ++i)
    last = next_best(s.group_order, a.groups, last, lane);
  return last;
}

/// The ids of the chosen, best first.
K_FN void choose_experts(K_CONST const RouteArgs& a, K_GROUP RouteShared& s, K_DEV const float* x,
                         uint32_t lane) {
  for (uint32_t i = lane; i < a.experts; i += lanes) {
    const float value = a.bias != nullptr ? s.probability[i] + a.bias[i] : x[i];
    s.choice[i] = value == value ? value : k_float(0x7f800000u);
  }
  barrier_group();
  const uint64_t least = least_group(a, s, lane);
  const uint32_t size = a.experts / a.groups;
  for (uint32_t i = lane; i < a.experts; i += lanes) {
    const bool stays = least == 0u || choice_key(s.group_order[i / size], i / size) >= least;
    s.order[i] = stays ? order_of(s.choice[i]) : 0u;
  }
  barrier_group();
  uint64_t last = ~uint64_t(0);
  for (uint32_t u = 0u; u < a.used; ++u) {
    last = next_best(s.order, a.experts, last, lane);
    if (lane == 0u) s.ids[u] = index_of_key(last);
  }
  barrier_group();
}

/// w[0] + w[1] + …, one after another.
K_FN float sum_of_weights(K_GROUP RouteShared& s, uint32_t used) {
  float sum = s.weights[0];
  for (uint32_t u = 1u; u < used; ++u) sum = sum + s.weights[u];
  return sum;
}
/// Softmax over the chosen logits alone; the weights hold them.
K_FN void softmax_of_chosen(K_GROUP RouteShared& s, uint32_t used, uint32_t lane) {
  float m = s.weights[0];
  for (uint32_t u = 1u; u < used; ++u) m = s.weights[u] > m ? s.weights[u] : m;
  barrier_group();
  for (uint32_t u = lane; u < used; u += lanes) s.weights[u] = k_exp(s.weights[u] - m);
  barrier_group();
  const float sum = sum_of_weights(s, used);
  barrier_group();
  for (uint32_t u = lane; u < used; u += lanes) s.weights[u] = k_div(s.weights[u], sum);
  barrier_group();
}

}  // namespace assay

/// Grid: (1, tokens); up to 512 experts.
K_KERNEL(route, assay::RouteArgs, assay::RouteShared, assay::Exactly<32>) {
  K_DEV const float* x = a.x + uint64_t(t.group_y) * a.experts;
  assay::route_probabilities(a, s, x, t.lane);
  assay::choose_experts(a, s, x, t.lane);
  for (uint32_t u = t.lane; u < a.used; u += assay::lanes)
    s.weights[u] = a.of_chosen != 0u ? x[s.ids[u]] : s.probability[s.ids[u]];
  assay::barrier_group();
  if (a.of_chosen != 0u) assay::softmax_of_chosen(s, a.used, t.lane);
  float divisor = 1.0f;
  if (a.renormalise != 0u) {
    const float sum = assay::sum_of_weights(s, a.used);
    divisor = sum < assay::k_floor_limit ? assay::k_floor_limit : sum;
  }
  K_DEV float* y = a.y + uint64_t(t.group_y) * 2u * a.used;
  for (uint32_t u = t.lane; u < a.used; u += assay::lanes) {
    float weight = s.weights[u];
    if (a.renormalise != 0u) weight = assay::k_div(weight, divisor);
    if (a.scale != 1.0f) weight = weight * a.scale;
    y[u] = float(s.ids[u]);
    y[a.used + u] = assay::k_floor_tiny(weight);
  }
}
