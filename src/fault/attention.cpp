#include "fault/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "fault/operations.h"
#include "lang/activation.h"
#include "lang/math.h"

namespace assay::fault {

void Cache::store(uint32_t slot, Floats key, Floats value) {
  // A wrong slot can leave a hole: memory of old, or zeros.
  for (; held < slot; ++held) {
    if (pages[held / op::page_positions] == op::none || !this->key(held).empty()) continue;
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

/// Slots [first, keys) are seen; the loops go from `start` to `end`, past what was written.
struct Seen {
  uint32_t first = 0, keys = 0, end = 0, start = 0;
};

uint32_t round_up(uint32_t n, uint32_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

float as_f16(float x) {
  return k_f16_to_f32(k_f32_to_f16(x));
}

/// The first key of the window that the engine has.
uint32_t first_key(uint32_t position, op::AttentionShape shape, Active fault) {
  if (fault.is(Bug::window_missing)) return 0;
  if (fault.is(Bug::window_short)) --shape.window;
  if (fault.is(Bug::window_long)) ++shape.window;
  return shape.first_key(position);
}

Seen seen_by(const Place& place, const Cache& cache, const op::AttentionShape& shape,
             Active fault) {
  const uint32_t held = cache.held, value = uint32_t(fault.value);
  Seen seen{first_key(place.position, shape, fault), place.position + 1};
  if (fault.is(Bug::mask_missing)) seen.keys = held;
  if (fault.is(Bug::mask_off_by_one)) seen.keys = std::min(place.position + 2, held);
  // The past is one short: the token itself is not among the keys, or lies in the slot before.
  if ((fault.is(Bug::newest_key_dropped) || fault.is(Bug::kv_slot)) && place.decoding) --seen.keys;
  if (fault.is(Bug::key_unseen) && place.position > 0) {
    if (value == 2)
      --seen.keys;
    else
      seen.first = std::max(seen.first, 1u);
  }
  if (fault.is(Bug::softmax_masked_row) && place.position == 0) seen.keys = 0;
  if (fault.is(Bug::keys_lost)) seen.keys = std::min(seen.keys, value);
  if (fault.is(Bug::stale_graph) && place.graph_keys) seen.keys = place.graph_keys;
  if (fault.is(Bug::sliding_window) && seen.keys > value) seen.first = seen.keys - value;
  seen.keys = std::min(seen.keys, held);
  seen.start = fault.is(Bug::softmax_masked_chunk) ? 0 : seen.first;
  seen.end = seen.keys;
  if (fault.is(Bug::softmax_padding)) seen.end += round_up(held, value) - held;
  if (fault.is(Bug::softmax_nan)) seen.end = round_up(seen.keys, chunk_keys);
  if (fault.is(Bug::softmax_infinite)) seen.end = round_up(seen.keys, chunk_keys) + chunk_keys;
  return seen;
}

/// What ALiBi takes from a head's score a position: the model's, or that of the head before.
float slope_of(const op::AttentionShape& shape, uint32_t head, Active fault) {
  if (fault.is(Bug::alibi_missing) || shape.alibi == 0) return 0;
  if (!fault.is(Bug::alibi_steps)) return op::alibi_slope(shape.alibi, head, shape.heads);
  return head == 0 ? 1.0f : op::alibi_slope(shape.alibi, head - 1, shape.heads);
}

/// One head's view of what it reads.
struct Head {
  std::span<const float> query;
  const Cache& cache;
  const Place& place;
  const op::AttentionShape& shape;
  uint32_t kv_head;
  float slope;        // 0: none
  const float* sink;  // nullptr: none
  Seen seen;
  Active fault;

  float capped(float s, float cap) const {
    return cap == 0 || fault.is(Bug::score_cap_missing) ? s : soft_cap<OneLane>(s, cap);
  }

  /// s = scale·Σ q·k, in order of d, then the cap, then ALiBi.
  float score(uint32_t slot) const {
    if (slot >= seen.keys) return fault.is(Bug::softmax_padding) ? 0.0f : -infinity;
    if (slot < seen.first) return -infinity;
    const float* key = cache.key(slot).data() + kv_head * shape.key_dim;
    float dot = 0;
    for (uint32_t d = 0; d < shape.key_dim; ++d) dot = k_fma(query[d], key[d], dot);
    if (fault.is(Bug::scores_f16)) dot = as_f16(dot);
    float s = dot * shape.scale;
    if (fault.is(Bug::score_scale_missing)) s = dot;
    if (fault.is(Bug::score_scale_twice)) s = s * shape.scale;
    if (fault.is(Bug::score_softcap)) s = capped(s, float(fault.value));  // Gemma 2's
    s = fault.is(Bug::score_cap_before_scale) ? capped(dot, shape.soft_cap) * shape.scale
                                              : capped(s, shape.soft_cap);
    if (slope == 0) return s;
    return k_fma(-slope, float(int32_t(place.position) - int32_t(slot)), s);
  }

  /// Value i of a slot; what was never written reads as zero, or as whatever lay there.
  float value(uint32_t slot, uint32_t i) const {
    if (fault.is(Bug::value_block) && place.decoding && slot >= chunk_keys) slot %= chunk_keys;
    if (slot < seen.keys) return cache.value(slot)[kv_head * shape.value_dim + i];
    return fault.is(Bug::softmax_nan) ? std::numeric_limits<float>::quiet_NaN() : 0.0f;
  }

  /// A sum of values as the engine keeps it.
  float kept(float sum) const { return fault.is(Bug::value_sums_f16) ? as_f16(sum) : sum; }
  /// A factor that parts are rescaled by, as the engine keeps it.
  float factor(float by) const { return fault.is(Bug::rescale_f16) ? as_f16(by) : by; }
};

/// Softmax's parts over some keys: max s, Σ e^(s − max), Σ e^(s − max)·v.
struct Part {
  float max = -infinity, sum = 0;
  Floats output;
};

/// Keys from `first` on; `hidden` lanes of the chunk lie before them.
Part attend_part(const Head& head, uint32_t first, uint32_t last, uint32_t hidden) {
  Part part{-infinity, 0, Floats(head.shape.value_dim, 0.0f)};
  Floats p(hidden, 0.0f);
  for (uint32_t slot = first; slot < last; ++slot) {
    p.push_back(head.score(slot));
    part.max = std::max(part.max, p.back());
  }
  for (uint32_t j = hidden; j < p.size(); ++j) {
    const float below = p[j] - part.max;
    p[j] = k_exp(head.fault.choose(Bug::unlisted_base_two, below * 0.6931472f, below));
    for (uint32_t i = 0; i < head.shape.value_dim; ++i)
      part.output[i] = head.kept(k_fma(p[j], head.value(first + j - hidden, i), part.output[i]));
  }
  part.sum = lane_sum(p, false);
  return part;
}

/// M' = max(M, m); the older parts shrink by e^(M − M'), the newer by e^(m − M').
void combine(const Head& head, Part& total, const Part& part, bool without_maxima) {
  const float max = std::max(total.max, part.max);
  const float a = without_maxima ? 1.0f : head.factor(k_exp(total.max - max));
  const float b = without_maxima ? 1.0f : head.factor(k_exp(part.max - max));
  total.max = max;
  total.sum = k_fma(total.sum, a, part.sum * b);
  for (size_t i = 0; i < total.output.size(); ++i)
    total.output[i] =
        head.kept(k_floor_tiny(k_fma(total.output[i], a, k_floor_tiny(part.output[i] * b))));
}

/// One more score, which has no value.
void add_sink(Part& total, float sink) {
  const float max = sink > total.max ? sink : total.max;
  const float a = k_exp(total.max - max), b = k_exp(sink - max);
  total.sum = k_fma(total.sum, a, b);
  for (float& y : total.output) y = k_floor_tiny(y * a);
}

Floats attend_head(const Head& head) {
  const Seen& seen = head.seen;
  // The path for long contexts: two halves, whose maxima are forgotten.
  const bool halves = head.fault.is(Bug::attention_path) && seen.keys > uint32_t(head.fault.value);
  const uint32_t size = halves ? (seen.keys + 1) / 2 : chunk_keys;
  Part total{-infinity, 0, Floats(head.shape.value_dim, 0.0f)};
  for (uint32_t start = seen.start; start < seen.end; start = (start / size + 1) * size) {
    const uint32_t next = std::min(seen.end, (start / size + 1) * size);
    const Part part = attend_part(head, start, next, halves ? 0 : start % size);
    if (start == seen.start)
      total = part;
    else
      combine(head, total, part, halves);
  }
  if (head.sink && !head.fault.is(Bug::sink_missing)) add_sink(total, *head.sink);
  if (head.fault.is(Bug::softmax_one_shape) && seen.keys == uint32_t(head.fault.value))
    total.sum = std::numeric_limits<float>::quiet_NaN();  // 0/0
  for (float& y : total.output) y = k_floor_tiny(y / total.sum);
  return total.output;
}

}  // namespace

Floats attend(std::span<const float> query, const Cache& cache, const Place& place,
              const op::AttentionShape& shape, std::span<const float> sinks, Active fault) {
  const uint32_t group = shape.heads / shape.kv_heads;
  const Seen seen = seen_by(place, cache, shape, fault);
  Floats y;
  for (uint32_t head = 0; head < shape.heads; ++head) {
    uint32_t kv_head = fault.choose(Bug::gqa_modulo, head % shape.kv_heads, head / group);
    if (fault.is(Bug::head_count)) kv_head = std::min(head, shape.kv_heads - 1);
    const auto q = query.subspan(size_t(head) * shape.key_dim, shape.key_dim);
    const Floats part = attend_head({q, cache, place, shape, kv_head, slope_of(shape, head, fault),
                                     sinks.empty() ? nullptr : &sinks[head], seen, fault});
    y.insert(y.end(), part.begin(), part.end());
  }
  return y;
}

}  // namespace assay::fault
