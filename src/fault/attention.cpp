#include "fault/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "fault/operations.h"
#include "lang/math.h"

namespace assay::fault {

void Cache::store(uint32_t slot, Floats key, Floats value) {
  // A wrong slot can leave a hole: memory of old, or zeros.
  for (; held < slot; ++held) {
    if (!this->key(held).empty()) continue;
    pool.keys[row(held)].resize(key.size(), 0.0f);
    pool.values[row(held)].resize(value.size(), 0.0f);
  }
  held = slot + 1;
  pool.keys[row(slot)] = std::move(key);
  pool.values[row(slot)] = std::move(value);
}

namespace {

constexpr uint32_t chunk_keys = 64;
constexpr float infinity = std::numeric_limits<float>::infinity();

/// Slots [first, keys) are seen; the loops go on to `end`, past what was written.
struct Seen {
  uint32_t first = 0, keys = 0, end = 0;
};

uint32_t round_up(uint32_t n, uint32_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

Seen seen_by(const Place& place, const Cache& cache, Active fault) {
  const uint32_t held = cache.held, value = uint32_t(fault.value);
  Seen seen{0, place.position + 1, 0};
  if (fault.is(Bug::mask_missing)) seen.keys = held;
  if (fault.is(Bug::mask_off_by_one)) seen.keys = std::min(place.position + 2, held);
  // The past is one short: the token itself is not among the keys, or lies in the slot before.
  if ((fault.is(Bug::newest_key_dropped) || fault.is(Bug::kv_slot)) && place.decoding) --seen.keys;
  if (fault.is(Bug::stale_graph) && place.graph_keys) seen.keys = place.graph_keys;
  if (fault.is(Bug::sliding_window) && seen.keys > value) seen.first = seen.keys - value;
  seen.keys = std::min(seen.keys, held);
  seen.end = seen.keys;
  if (fault.is(Bug::softmax_padding)) seen.end += round_up(held, value) - held;
  if (fault.is(Bug::softmax_nan)) seen.end = round_up(seen.keys, chunk_keys);
  if (fault.is(Bug::softmax_infinite)) seen.end = round_up(seen.keys, chunk_keys) + chunk_keys;
  return seen;
}

/// One head's view of what it reads.
struct Head {
  std::span<const float> query;
  const Cache& cache;
  const op::AttentionShape& shape;
  uint32_t kv_head;
  Seen seen;
  Active fault;

  /// s = scale·Σ q·k, in order of d.
  float score(uint32_t slot) const {
    if (slot >= seen.keys) return fault.is(Bug::softmax_padding) ? 0.0f : -infinity;
    const float* key = cache.key(slot).data() + kv_head * shape.key_dim;
    float dot = 0;
    for (uint32_t d = 0; d < shape.key_dim; ++d) dot = k_fma(query[d], key[d], dot);
    if (fault.is(Bug::score_scale_missing)) return dot;
    const float s = dot * shape.scale;
    if (fault.is(Bug::score_scale_twice)) return s * shape.scale;
    const float cap = float(fault.value);  // cap·tanh(s/cap): Gemma 2's
    return fault.is(Bug::score_softcap) ? cap * std::tanh(s / cap) : s;
  }

  /// Value i of a slot; what was never written reads as zero, or as whatever lay there.
  float value(uint32_t slot, uint32_t i) const {
    if (slot < seen.keys) return cache.value(slot)[kv_head * shape.value_dim + i];
    return fault.is(Bug::softmax_nan) ? std::numeric_limits<float>::quiet_NaN() : 0.0f;
  }
};

/// Softmax's parts over some keys: max s, Σ e^(s − max), Σ e^(s − max)·v.
struct Part {
  float max = -infinity, sum = 0;
  Floats output;
};

Part attend_part(const Head& head, uint32_t first, uint32_t last) {
  Part part{-infinity, 0, Floats(head.shape.value_dim, 0.0f)};
  Floats p;
  for (uint32_t slot = first; slot < last; ++slot) {
    p.push_back(head.score(slot));
    part.max = std::max(part.max, p.back());
  }
  for (uint32_t j = 0; j < p.size(); ++j) {
    const float below = p[j] - part.max;
    p[j] = k_exp(head.fault.choose(Bug::unlisted_base_two, below * 0.6931472f, below));
    for (uint32_t i = 0; i < head.shape.value_dim; ++i)
      part.output[i] = k_fma(p[j], head.value(first + j, i), part.output[i]);
  }
  part.sum = lane_sum(p, false);
  return part;
}

/// M' = max(M, m); the older parts shrink by e^(M − M'), the newer by e^(m − M').
void combine(Part& total, const Part& part, bool without_maxima) {
  const float max = std::max(total.max, part.max);
  const float a = without_maxima ? 1.0f : k_exp(total.max - max);
  const float b = without_maxima ? 1.0f : k_exp(part.max - max);
  total.max = max;
  total.sum = k_fma(total.sum, a, part.sum * b);
  for (size_t i = 0; i < total.output.size(); ++i)
    total.output[i] = k_floor_tiny(k_fma(total.output[i], a, k_floor_tiny(part.output[i] * b)));
}

Floats attend_head(const Head& head) {
  const Seen& seen = head.seen;
  // The path for long contexts: two halves, whose maxima are forgotten.
  const bool halves = head.fault.is(Bug::attention_path) && seen.keys > uint32_t(head.fault.value);
  const uint32_t size = halves ? (seen.keys + 1) / 2 : chunk_keys;
  Part total;
  for (uint32_t start = seen.first; start < seen.end; start = (start / size + 1) * size) {
    const uint32_t next = std::min(seen.end, (start / size + 1) * size);
    const Part part = attend_part(head, start, next);
    if (start == seen.first)
      total = part;
    else
      combine(total, part, halves);
  }
  for (float& y : total.output) y = k_floor_tiny(y / total.sum);
  return total.output;
}

}  // namespace

Floats attend(std::span<const float> query, const Cache& cache, const Place& place,
              const op::AttentionShape& shape, Active fault) {
  const uint32_t group = shape.heads / shape.kv_heads;
  const Seen seen = seen_by(place, cache, fault);
  Floats y;
  for (uint32_t head = 0; head < shape.heads; ++head) {
    const uint32_t kv_head = fault.choose(Bug::gqa_modulo, head % shape.kv_heads, head / group);
    const auto q = query.subspan(size_t(head) * shape.key_dim, shape.key_dim);
    const Floats part = attend_head({q, cache, shape, kv_head, seen, fault});
    y.insert(y.end(), part.begin(), part.end());
  }
  return y;
}

}  // namespace assay::fault
