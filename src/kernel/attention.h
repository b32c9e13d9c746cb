// y[h] = Σ_j softmax_j(q[h]·K[j]·scale) V[j] over keys 0 … position of the query's sequence. A
// group owns a query's head; its simds take the chunks of 64 keys, and each round of chunks is
// combined in order (docs/numbers.md, "Attention").
#pragma once

#include "kernel/cache.h"

namespace assay {

K_TABLE uint32_t attention_simds = 8;

struct AttentionShared {
  float query[512];
  float outputs[8 * 512];  // (simds, value_dim)
  float max[8], sum[8];
};

// Loads are not guarded by branches, which would part them: where there is no key, value or
// element, a neighbour is loaded and not used. A choice of what was loaded (`… ? v : 0`) is no way
// to drop it: nvcc makes it a branch around the load again, and this kernel took twice as long.

/// Elements d … d + batch − 1 of a chunk's key `key`.
template <bool f32, uint32_t batch>
K_FN void load_keys(K_CONST const AttentionArgs& a, uint64_t first, uint32_t d, uint32_t key,
                    K_THREAD float* k) {
  const uint64_t begin = first + uint64_t(d) * key_chunk + key;
  K_UNROLL
  for (uint32_t u = 0u; u < batch; ++u)
    k[u] = cache_element<f32>(a.cache.keys, begin + u * key_chunk);
}

/// Element d of the values j … j + batch − 1 of a chunk that has `valid`.
template <bool f32, uint32_t batch>
K_FN void load_values(K_CONST const AttentionArgs& a, uint64_t first, uint32_t j, uint32_t valid,
                      uint32_t d, K_THREAD float* v) {
  const uint32_t element = d < a.cache.value_dim ? d : 0u;
  K_UNROLL
  for (uint32_t u = 0u; u < batch; ++u) {
    const uint32_t row = j + u < valid ? j + u : 0u;
    v[u] = cache_element<f32>(a.cache.values, first + row * a.cache.value_dim + element);
  }
}

/// Scores of lane and lane + 32 of a chunk's keys, from the chunk's first element; −infinity beyond
/// the last key.
struct ScorePair {
  float low, high;
};
/// Adds the products of elements d … d + batch − 1.
template <bool f32, uint32_t batch>
K_FN void add_products(K_CONST const AttentionArgs& a, K_GROUP AttentionShared& s, uint64_t first,
                       uint32_t d, uint32_t key, uint32_t key_32, K_THREAD ScorePair& dots) {
  float k0[batch], k1[batch];
  load_keys<f32, batch>(a, first, d, key, k0);
  load_keys<f32, batch>(a, first, d, key_32, k1);
  K_UNROLL
  for (uint32_t u = 0u; u < batch; ++u) {
    dots.low = k_fma(s.query[d + u], k0[u], dots.low);
    dots.high = k_fma(s.query[d + u], k1[u], dots.high);
  }
}

template <bool f32>
K_FN ScorePair chunk_scores(K_CONST const AttentionArgs& a, K_GROUP AttentionShared& s,
                            uint64_t first, uint32_t valid, uint32_t lane) {
  const uint32_t key = lane < valid ? lane : 0u;
  const uint32_t key_32 = lane + lanes < valid ? lane + lanes : 0u;
  ScorePair dots = {0.0f, 0.0f};
  uint32_t d = 0u;
  for (; d + 16u <= a.cache.key_dim; d += 16u)
    add_products<f32, 16u>(a, s, first, d, key, key_32, dots);
  for (; d < a.cache.key_dim; ++d) add_products<f32, 1u>(a, s, first, d, key, key_32, dots);
  const float none = k_float(0xff800000u);
  const ScorePair pair = {lane < valid ? dots.low * a.scale : none,
                          lane + lanes < valid ? dots.high * a.scale : none};
  return pair;
}

/// Max, sum and output of one chunk into the simd's part of shared memory.
template <bool f32>
K_FN void attend_chunk(K_CONST const AttentionArgs& a, K_GROUP AttentionShared& s, Thread t,
                       uint64_t row, uint32_t chunk, uint32_t valid) {
  const ScorePair score = chunk_scores<f32>(
      a, s, row * a.cache.key_dim + uint64_t(chunk) * a.cache.key_dim * key_chunk, valid, t.lane);
  const float larger = score.high > score.low ? score.high : score.low;
  const float m = simd_max_ordered(larger);
  const float low = k_exp(score.low - m), high = k_exp(score.high - m);
  const float sum = simd_sum_ordered(low + high);
  if (t.lane == 0u) {
    s.max[t.simd] = m;
    s.sum[t.simd] = sum;
  }
  // o[d] = Σ_j p_j·v[j][d] in order of j: a lane for each d, the weights from their lanes.
  const uint64_t first_value = (row + uint64_t(chunk) * key_chunk) * a.cache.value_dim;
  for (uint32_t first = 0u; first < a.cache.value_dim; first += lanes) {
    const uint32_t d = first + t.lane;
    float o = 0.0f;
    for (uint32_t j = 0u; j < valid; j += lanes) {
      float v[32];
      load_values<f32, 32u>(a, first_value, j, valid, d, v);
      K_UNROLL
      for (uint32_t u = 0u; u < 32u; ++u) {
        const float p = shuffle_from_f32(j == 0u ? low : high, u);
        o = j + u < valid ? k_fma(p, v[u], o) : o;
      }
    }
    if (d < a.cache.value_dim) s.outputs[t.simd * most_head_dim + d] = o;
  }
}

template <bool f32>
K_FN void attend(K_CONST const AttentionArgs& a, K_GROUP AttentionShared& s, Thread t) {
  const uint32_t token = t.group_y, head = t.group_x;
  const uint32_t kv_head = head / (a.heads / a.cache.kv_heads);
  const uint32_t keys = a.step.positions[token] + 1u;
  const uint32_t chunks = (keys + key_chunk - 1u) / key_chunk;
  const uint64_t row = cache_row(a.cache, a.step.sequences[token], kv_head);
  const uint32_t value_dim = a.cache.value_dim, simds = t.group_size / lanes;
  K_DEV const float* query = a.queries + (uint64_t(token) * a.heads + head) * a.cache.key_dim;
  for (uint32_t d = t.index; d < a.cache.key_dim; d += t.group_size) s.query[d] = query[d];
  float running_max = 0.0f, running_sum = 0.0f;
  float o[2] = {0.0f, 0.0f};  // of d = index and index + group_size
  for (uint32_t first = 0u; first < chunks; first += simds) {
    barrier_group();  // the query is there, the last round has been read
    const uint32_t chunk = first + t.simd;
    if (chunk < chunks) {
      const uint32_t left = keys - chunk * key_chunk;
      attend_chunk<f32>(a, s, t, row, chunk, left < key_chunk ? left : key_chunk);
    }
    barrier_group();
    for (uint32_t i = 0u; i < simds && first + i < chunks; ++i) {
      const float chunk_max = s.max[i], chunk_total = s.sum[i];
      const bool begins = first + i == 0u;
      const float m = begins || chunk_max > running_max ? chunk_max : running_max;
      const float old_weight = begins ? 0.0f : k_exp(running_max - m);
      const float new_weight = k_exp(chunk_max - m);
      for (uint32_t e = 0u; e < 2u; ++e) {
        const uint32_t d = t.index + e * t.group_size;
        if (d >= value_dim) continue;
        const float part = s.outputs[i * most_head_dim + d];
        o[e] =
            begins ? part : k_floor_tiny(k_fma(o[e], old_weight, k_floor_tiny(part * new_weight)));
      }
      running_sum = begins ? chunk_total : k_fma(running_sum, old_weight, chunk_total * new_weight);
      running_max = m;
    }
  }
  const uint32_t width = a.heads * value_dim;
  for (uint32_t e = 0u; e < 2u; ++e) {
    const uint32_t d = t.index + e * t.group_size;
    const float y = d < value_dim ? k_floor_tiny(k_div(o[e], running_sum)) : 0.0f;
    if (a.y != nullptr && d < value_dim) a.y[uint64_t(token) * width + head * value_dim + d] = y;
    if (a.quantised.codes != nullptr)
      quantise_lanes(y, a.quantised, (token * width + head * value_dim + d) / quantum, t.lane,
                     d < value_dim);
  }
}

}  // namespace assay

/// Grid: (heads, tokens), group of 256. The quantised form needs value_dim to be whole blocks
/// of 32.
K_KERNEL(attention, assay::AttentionArgs, assay::AttentionShared) {
  if (a.cache.f32 != 0u)
    assay::attend<true>(a, s, t);
  else
    assay::attend<false>(a, s, t);
}
