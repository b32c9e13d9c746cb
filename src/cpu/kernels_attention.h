// Attention of one head over chunks of 64 keys at absolute positions, each with its own max, sum
// and output, combined in order. Included once for each instruction set.
//   s_j = RN((Σ_d fma in order of d)·scale)        p_j = e^(s_j − m), m the chunk's max
//   l = Σ p_j in 32 strided lanes and the xor tree  o = Σ_j fma(p_j, v_j) in order of j
//   combine: M' = max(M, m), a = e^(M − M'), b = e^(m − M'), L' = fma(L, a, RN(l·b)), O' = fma(O,
//   a, RN(o·b)) y = O / L
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

/// Probabilities p (64, zeros beyond `valid`) of one chunk's keys (key_dim, 64).
template <class S, class Cache>
ChunkSoftmax chunk_softmax(const AttentionHead& head, const Cache* keys, uint32_t valid, float* p) {
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
  for (uint32_t j = valid; j < key_chunk; ++j) p[j] = -__builtin_inff();
  auto largest = S::load(p);
  for (int r = 1; r < 4; ++r) largest = S::max(largest, S::load(p + 16 * r));
  const float m = S::max_of(largest);
  const auto shift = S::set(m);
  // Lanes beyond `valid` hold −infinity: e^(−infinity − m) is 0, as 0 < 50 below.
  typename S::F32 e[4];
  for (int r = 0; r < 4; ++r) {
    e[r] = exp_lanes<S>(S::sub(S::load(p + 16 * r), shift));
    S::store(p + 16 * r, e[r]);
  }
  return {m, S::tree_sum(S::add(S::add(e[0], e[2]), S::add(e[1], e[3])))};
}

/// o (value_stride) = Σ_j p_j·v_j in order of j. Values (valid, value_stride).
template <class S, class Cache>
void chunk_output(const AttentionHead& head, const Cache* values, uint32_t valid, const float* p,
                  float* o) {
  uint32_t d = 0;
  for (; d + 64 <= head.value_stride; d += 64) {
    typename S::F32 sum[4] = {S::zero(), S::zero(), S::zero(), S::zero()};
    for (uint32_t j = 0; j < valid; ++j) {
      const auto weight = S::set(p[j]);
      const Cache* row = values + uint64_t(j) * head.value_stride + d;
      for (int r = 0; r < 4; ++r) sum[r] = S::fma(weight, load_cache<S>(row + 16 * r), sum[r]);
    }
    for (int r = 0; r < 4; ++r) S::store(o + d + 16 * r, sum[r]);
  }
  for (; d < head.value_stride; d += 16) {
    auto sum = S::zero();
    for (uint32_t j = 0; j < valid; ++j)
      sum = S::fma(S::set(p[j]), load_cache<S>(values + uint64_t(j) * head.value_stride + d), sum);
    S::store(o + d, sum);
  }
}

template <class S, class Cache>
void attention(const AttentionHead& head) {
  const auto* keys = static_cast<const Cache*>(head.keys);
  const auto* values = static_cast<const Cache*>(head.values);
  float p[key_chunk];
  float* total = head.scratch;
  float* part = head.scratch + head.value_stride;
  float running_max = 0, running_sum = 0;
  for (uint32_t start = 0; start < head.key_count; start += key_chunk) {
    const uint32_t valid = head.key_count - start < key_chunk ? head.key_count - start : key_chunk;
    const uint64_t page = head.pages[start / key_chunk];
    const ChunkSoftmax chunk = chunk_softmax<S, Cache>(head, keys + page * head.key_page, valid, p);
    chunk_output<S, Cache>(head, values + page * head.value_page, valid, p,
                           start == 0 ? total : part);
    if (start == 0) {
      running_max = chunk.max;
      running_sum = chunk.sum;
      continue;
    }
    const float m = chunk.max > running_max ? chunk.max : running_max;
    const float a = k_exp(running_max - m), b = k_exp(chunk.max - m);
    running_max = m;
    running_sum = k_fma(running_sum, a, chunk.sum * b);
    const auto wa = S::set(a), wb = S::set(b);
    for (uint32_t d = 0; d < head.value_stride; d += 16) {
      const auto product = S::floor_tiny(S::mul(S::load(part + d), wb), k_floor_limit);
      S::store(total + d, S::floor_tiny(S::fma(S::load(total + d), wa, product), k_floor_limit));
    }
  }
  const auto denominator = S::set(running_sum);
  map<S>(total, total, head.value_dim, head.output,
         [&](auto o, auto) { return S::floor_tiny(S::div(o, denominator), k_floor_limit); });
}

}  // namespace
}  // namespace assay::cpu
