// Attention of one head over chunks of 64 keys at absolute positions, each with its own max, sum
// and output, combined in order. Included once for each instruction set.
//   s_j = RN((Σ_d fma in order of d)·scale)        p_j = e^(s_j − m), m the chunk's max
//   l = Σ p_j in 32 strided lanes and the xor tree  o = Σ_j fma(p_j, v_j) in order of j
//   combine: M' = max(M, m), a = e^(M − M'), b = e^(m − M'), L' = fma(L, a, RN(l·b)), O' = fma(O,
//   a, RN(o·b)) y = O / L
// A window leaves out the keys before `first_key`; a score may be capped and lowered by distance; a
// sink is one more score, without a value, after the last chunk.
#pragma once

#include <cstdint>

#include "cpu/kernels.h"
#include "cpu/kernels_elementwise.h"

namespace assay::cpu {
namespace {

template <class S>
typename S::F32 load_cache(const float* p) {
  return S::load(p);
}
template <class S>
typename S::F32 load_cache(const uint16_t* p) {
  return S::load_f16(p);
}

struct ChunkSoftmax {
  float max, sum;
};

/// The keys of a chunk that the query sees: hidden … valid − 1, the first of which is at position
/// `start` + hidden.
struct ChunkKeys {
  uint32_t start, hidden, valid;
};

/// What soft cap and ALiBi make of a chunk's scores (64).
template <class S>
void adjust_scores(const AttentionHead& head, const ChunkKeys& chunk, float* scores) {
  if (head.soft_cap != 0.0f) {
    const auto cap = S::set(head.soft_cap);
    for (int r = 0; r < 4; ++r)
      S::store(scores + 16 * r, assay::soft_cap<Lanes<S>>(S::load(scores + 16 * r), cap));
  }
  if (head.slope != 0.0f) {
    float distance[key_chunk] = {};
    for (uint32_t j = 0; j < chunk.valid; ++j)
      distance[j] = float(head.key_count - 1 - chunk.start - j);
    const auto slope = S::set(-head.slope);
    for (int r = 0; r < 4; ++r)
      S::store(scores + 16 * r,
               S::fma(slope, S::load(distance + 16 * r), S::load(scores + 16 * r)));
  }
}

/// Probabilities p (64, zeros of keys that are not seen) of one chunk's keys (key_dim, 64).
template <class S, class Cache>
ChunkSoftmax chunk_softmax(const AttentionHead& head, const Cache* keys, const ChunkKeys& chunk,
                           float* p) {
  const uint32_t valid = chunk.valid;
  typename S::F32 s[4] = {S::zero(), S::zero(), S::zero(), S::zero()};
  const uint32_t registers = (valid + 15) / 16;
  if (registers == 4) {
    for (uint32_t d = 0; d < head.key_dim; ++d) {
      const auto q = S::set(head.query[d]);
      for (int r = 0; r < 4; ++r)
        s[r] = S::fma(q, load_cache<S>(keys + key_chunk * d + 16 * r), s[r]);
    }
  } else {
    for (uint32_t d = 0; d < head.key_dim; ++d) {
      const auto q = S::set(head.query[d]);
      for (uint32_t r = 0; r < registers; ++r)
        s[r] = S::fma(q, load_cache<S>(keys + key_chunk * d + 16 * r), s[r]);
    }
  }
  const auto scale = S::set(head.scale);
  for (int r = 0; r < 4; ++r) S::store(p + 16 * r, S::mul(s[r], scale));
  adjust_scores<S>(head, chunk, p);
  for (uint32_t j = 0; j < chunk.hidden; ++j) p[j] = -__builtin_inff();
  for (uint32_t j = valid; j < key_chunk; ++j) p[j] = -__builtin_inff();
  auto largest = S::load(p);
  for (int r = 1; r < 4; ++r) largest = S::max(largest, S::load(p + 16 * r));
  const float m = S::max_of(largest);
  const auto shift = S::set(m);
  // Lanes of keys that are not seen hold −infinity: e^(−infinity − m) is 0, as 0 < 50 below.
  typename S::F32 e[4];
  for (int r = 0; r < 4; ++r) {
    e[r] = exp_lanes<S>(S::sub(S::load(p + 16 * r), shift));
    S::store(p + 16 * r, e[r]);
  }
  return {m, S::tree_sum(S::add(S::add(e[0], e[2]), S::add(e[1], e[3])))};
}

/// o (value_stride) = Σ_j p_j·v_j in order of j over the keys that are seen. Values (64,
/// value_stride).
template <class S, class Cache>
void chunk_output(const AttentionHead& head, const Cache* values, const ChunkKeys& chunk,
                  const float* p, float* o) {
  const uint32_t hidden = chunk.hidden, valid = chunk.valid;
  uint32_t d = 0;
  for (; d + 64 <= head.value_stride; d += 64) {
    typename S::F32 sum[4] = {S::zero(), S::zero(), S::zero(), S::zero()};
    for (uint32_t j = hidden; j < valid; ++j) {
      const auto weight = S::set(p[j]);
      const Cache* row = values + uint64_t(j) * head.value_stride + d;
      for (int r = 0; r < 4; ++r) sum[r] = S::fma(weight, load_cache<S>(row + 16 * r), sum[r]);
    }
    for (int r = 0; r < 4; ++r) S::store(o + d + 16 * r, sum[r]);
  }
  for (; d < head.value_stride; d += 16) {
    auto sum = S::zero();
    for (uint32_t j = hidden; j < valid; ++j)
      sum = S::fma(S::set(p[j]), load_cache<S>(values + uint64_t(j) * head.value_stride + d), sum);
    S::store(o + d, sum);
  }
}

/// A score z without a value: M' = max(M, z), a = e^(M − M'), L' = fma(L, a, e^(z − M')), O' =
/// RN(O·a).
template <class S>
void add_sink(float z, uint32_t value_stride, ChunkSoftmax& running, float* total) {
  const float m = z > running.max ? z : running.max;
  const float a = k_exp(running.max - m), b = k_exp(z - m);
  running = {m, k_fma(running.sum, a, b)};
  const auto weight = S::set(a);
  for (uint32_t d = 0; d < value_stride; d += 16)
    S::store(total + d, S::floor_tiny(S::mul(S::load(total + d), weight), k_floor_limit));
}

template <class S, class Cache>
void attention(const AttentionHead& head) {
  const auto* keys = static_cast<const Cache*>(head.keys);
  const auto* values = static_cast<const Cache*>(head.values);
  float p[key_chunk];
  float* total = head.scratch;
  float* part = head.scratch + head.value_stride;
  ChunkSoftmax running{0, 0};
  const uint32_t first = head.first_key / key_chunk * key_chunk;
  for (uint32_t start = first; start < head.key_count; start += key_chunk) {
    const uint32_t hidden = head.first_key > start ? head.first_key - start : 0;
    const uint32_t valid = head.key_count - start < key_chunk ? head.key_count - start : key_chunk;
    const ChunkKeys seen{start, hidden, valid};
    const uint64_t page = head.pages[start / key_chunk];
    const ChunkSoftmax chunk = chunk_softmax<S, Cache>(head, keys + page * head.key_page, seen, p);
    chunk_output<S, Cache>(head, values + page * head.value_page, seen, p,
                           start == first ? total : part);
    if (start == first) {
      running = chunk;
      continue;
    }
    const float m = chunk.max > running.max ? chunk.max : running.max;
    const float a = k_exp(running.max - m), b = k_exp(chunk.max - m);
    running = {m, k_fma(running.sum, a, chunk.sum * b)};
    const auto wa = S::set(a), wb = S::set(b);
    for (uint32_t d = 0; d < head.value_stride; d += 16) {
      const auto product = S::floor_tiny(S::mul(S::load(part + d), wb), k_floor_limit);
      S::store(total + d, S::floor_tiny(S::fma(S::load(total + d), wa, product), k_floor_limit));
    }
  }
  if (head.sink) add_sink<S>(*head.sink, head.value_stride, running, total);
  const auto denominator = S::set(running.sum);
  map<S>(total, total, head.value_dim, head.output,
         [&](auto o, auto) { return S::floor_tiny(S::div(o, denominator), k_floor_limit); });
}

}  // namespace
}  // namespace assay::cpu
