// Draws a token from the best logits that top_k left, and makes it the next step's: a device goes
// on by itself, and the host reads several tokens at once. The order and arithmetic are
// run/sampler.h's.
#pragma once

#include "kernel/sampling.h"
#include "kernel/words.h"

namespace assay {

K_TABLE uint32_t most_drawn = 8;  // tokens that a device draws before the host sees them

/// How a sequence's tokens are drawn. In device memory: it changes while recordings don't.
struct SampleRule {
  uint32_t seed_low, seed_high;
  float temperature;   // <= 0: the best
  float top_p, min_p;  // >= 1 and <= 0: all
  uint32_t k;          // of the best that are there
  uint32_t first;      // position of the first token that is drawn
  uint32_t steps;      // tokens that are drawn
};
static_assert(sizeof(SampleRule) == 32, "the host and every device agree");

/// Draws each row's token and makes it the next step's.
struct SampleArgs {
  K_DEV const uint64_t* best;  // (rows, k): top_k's
  K_DEV const SampleRule* rules;
  K_DEV const float* rope_ahead;  // (steps, rows, dimensions): of the positions first, first + 1 …
  K_DEV int32_t* drawn;           // (steps, rows); −1: nothing to draw from
  K_DEV int32_t* tokens;          // the step's inputs
  K_DEV uint32_t* positions;
  K_DEV float* rope;
  uint32_t k, rows, dimensions, unused;
};
static_assert(sizeof(SampleArgs) == 72, "the host and every device agree");

/// The logit of one of top_k's keys.
K_FN float logit_of_key(uint64_t key) {
  const uint32_t ordered = uint32_t(key >> 32);
  return k_float((ordered & 0x80000000u) != 0u ? ordered ^ 0x80000000u : ~ordered);
}

/// A row's best logits, best first.
struct BestLogits {
  K_DEV const uint64_t* keys;
  uint32_t count;  // that may be drawn
  float highest;
};
K_FN float share_at(BestLogits best, uint32_t i, float temperature) {
  return i < best.count ? share_of_best(logit_of_key(best.keys[i]), best.highest, temperature)
                        : 0.0f;
}
K_FN uint64_t total_weight(BestLogits best, float temperature, uint32_t lane) {
  uint64_t sum = 0u;
  for (uint32_t i = lane; i < best.count; i += lanes)
    sum += weight_of_share(share_at(best, i, temperature));
  return last_lanes(simd_sum_to(sum, lane));
}
/// The first place where the weights so far reach `wanted`; the last one where they don't.
K_FN uint32_t place_of(BestLogits best, float temperature, uint64_t wanted, uint32_t lane) {
  uint64_t before = 0u;
  for (uint32_t first = 0u; first < best.count; first += lanes) {
    const uint32_t i = first + lane;
    const uint64_t sum =
        before + simd_sum_to(weight_of_share(share_at(best, i, temperature)), lane);
    // The highest of 32 − lane is the lowest lane's.
    const uint32_t found = simd_max_bits(i < best.count && sum >= wanted ? lanes - lane : 0u);
    if (found != 0u) return first + lanes - found;
    before = last_lanes(sum);
  }
  return best.count - 1u;
}
/// How many, from the best on, have at least `least` of its probability.
K_FN uint32_t count_from(BestLogits best, float least, uint32_t lane) {
  for (uint32_t first = 0u; first < best.count; first += lanes) {
    const uint32_t i = first + lane;
    const bool ends = i >= best.count || (i > 0u && !(share_at(best, i, 1.0f) >= least));
    const uint32_t found = simd_max_bits(ends ? lanes - lane : 0u);
    if (found != 0u) return first + lanes - found;
  }
  return best.count;
}

/// The id drawn for `position`; −1 where there is none to draw.
K_FN int32_t draw(K_DEV const uint64_t* keys, SampleRule rule, uint32_t position, uint32_t lane) {
  BestLogits best = {keys, 0u, logit_of_key(keys[0])};
  for (uint32_t first = 0u; first < rule.k; first += lanes) {
    const uint32_t i = first + lane;
    best.count +=
        uint32_t(simd_sum_exact(i < rule.k && keys[i < rule.k ? i : 0u] != 0u ? 1 : 0, 16u));
  }
  if (best.count == 0u) return -1;
  if (!(rule.temperature > 0.0f)) return int32_t(~uint32_t(keys[0]));
  if (rule.top_p < 1.0f)
    best.count =
        place_of(best, 1.0f, top_p_of(total_weight(best, 1.0f, lane), rule.top_p), lane) + 1u;
  if (rule.min_p > 0.0f) best.count = count_from(best, rule.min_p, lane);
  const uint64_t seed = (uint64_t(rule.seed_high) << 32) | uint64_t(rule.seed_low);
  const uint64_t drawn =
      high_product(random_bits(seed, position), total_weight(best, rule.temperature, lane));
  return int32_t(~uint32_t(keys[place_of(best, rule.temperature, drawn + 1u, lane)]));
}

}  // namespace assay

/// Grid: (1, rows). A row is a sequence's one token of the step.
K_KERNEL(sample, assay::SampleArgs, assay::NoShared, assay::Exactly<32>) {
  const uint32_t row = t.group_y;
  const assay::SampleRule rule = a.rules[row];
  const uint32_t position = a.positions[row] + 1u, step = position - rule.first;
  const int32_t id = assay::draw(a.best + uint64_t(row) * a.k, rule, position, t.lane);
  assay::barrier_group();  // all lanes have read the position
  if (step + 1u < rule.steps)
    for (uint32_t i = t.lane; i < a.dimensions; i += assay::lanes)
      a.rope[row * a.dimensions + i] =
          a.rope_ahead[(uint64_t(step) * a.rows + row) * a.dimensions + i];
  if (t.lane != 0u) return;
  a.drawn[step * a.rows + row] = id;
  a.tokens[row] = id < 0 ? 0 : id;
  a.positions[row] = position;
}
