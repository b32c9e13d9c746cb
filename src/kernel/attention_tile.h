// Attention of many queries: a simd owns a head and eight neighbouring queries of one sequence, so
// that each key and value is loaded once for the eight. The sums are those of kernel/attention.h,
// the chunks of 64 keys in order.
#pragma once

#include "kernel/attention.h"

namespace assay {

K_TABLE uint32_t attention_queries = 8;     // of a tile
K_TABLE uint32_t most_tile_head_dim = 128;  // widest head that tiles take

struct AttentionTileShared {
  float queries[128 * 8];                // (key_dim, queries)
  float weights[64 * 8];                 // (keys of a chunk, queries)
  float old_weights[8], new_weights[8];  // by query: what the chunk changes
};

/// Eight values, one of each query.
struct Eight {
  float of[8];
};
/// Query n sees keys first[n] … all[n] − 1; beyond the step's tokens both are 0.
struct TileSight {
  uint32_t all[8], first[8];
};
/// Of a chunk each query sees keys begin … of − 1. The most and the least that end so; where the
/// first and the last of them begin.
struct TileKeys {
  uint32_t of[8], begin[8];
  uint32_t most, least, earliest, latest;
};

template <bool special>
K_FN TileKeys keys_of_chunk(K_THREAD const TileSight& sight, uint32_t chunk) {
  TileKeys keys;
  keys.most = keys.latest = 0u;
  keys.least = keys.earliest = key_chunk;
  const uint32_t before = chunk * key_chunk;
  K_UNROLL
  for (uint32_t n = 0u; n < attention_queries; ++n) {
    const uint32_t left = sight.all[n] > before ? sight.all[n] - before : 0u;
    keys.of[n] = left < key_chunk ? left : key_chunk;
    keys.most = keys.of[n] > keys.most ? keys.of[n] : keys.most;
    keys.least = keys.of[n] < keys.least ? keys.of[n] : keys.least;
    const uint32_t hidden = special && sight.first[n] > before ? sight.first[n] - before : 0u;
    keys.begin[n] = hidden < keys.of[n] ? hidden : keys.of[n];
    if (!special) keys.begin[n] = 0u;
    keys.earliest = keys.begin[n] < keys.earliest ? keys.begin[n] : keys.earliest;
    keys.latest = keys.begin[n] > keys.latest ? keys.begin[n] : keys.latest;
  }
  return keys;
}
/// Whether query n sees a key of the chunk.
K_FN bool sees(K_THREAD const TileKeys& keys, uint32_t n, uint32_t key) {
  return key - keys.begin[n] < keys.of[n] - keys.begin[n];
}

/// Each of eight values over the lanes, by the xor tree 16, 8, 4, 2, 1: a lane gets that of query
/// lane / 4. Half of the values go to the lane across, the other half's come from there: nine
/// exchanges, and the same pairs as in simd_sum_ordered.
template <class Op>
K_FN float simd_reduce_eight(K_THREAD const Eight& values, uint32_t lane) {
  float four[4], two[2];
  const bool upper = (lane & 16u) != 0u, second = (lane & 8u) != 0u, odd = (lane & 4u) != 0u;
  K_UNROLL
  for (uint32_t n = 0u; n < 4u; ++n) {
    const float given = upper ? values.of[n] : values.of[n + 4u];
    const float kept = upper ? values.of[n + 4u] : values.of[n];
    four[n] = Op::of(kept, k_float(shuffle_xor(k_bits(given), 16u)));
  }
  K_UNROLL
  for (uint32_t n = 0u; n < 2u; ++n) {
    const float given = second ? four[n] : four[n + 2u];
    const float kept = second ? four[n + 2u] : four[n];
    two[n] = Op::of(kept, k_float(shuffle_xor(k_bits(given), 8u)));
  }
  const float given = odd ? two[0] : two[1];
  float x = odd ? two[1] : two[0];
  x = Op::of(x, k_float(shuffle_xor(k_bits(given), 4u)));
  x = Op::of(x, k_float(shuffle_xor(k_bits(x), 2u)));
  return Op::of(x, k_float(shuffle_xor(k_bits(x), 1u)));
}
struct Sum {
  K_FN float of(float a, float b) { return a + b; }
};
struct Highest {
  K_FN float of(float a, float b) { return b > a ? b : a; }
};
/// Query n's of what simd_reduce_eight gave.
K_FN float of_query(float x, uint32_t n) {
  return shuffle_from_f32(x, 4u * n);
}

/// The products of element d of the eight queries with that of two keys.
K_FN void add_scores(K_GROUP AttentionTileShared& s, uint32_t d, float k0, float k1,
                     K_THREAD Eight& low, K_THREAD Eight& high) {
  K_UNROLL
  for (uint32_t n = 0u; n < attention_queries; ++n) {
    const float query = s.queries[d * attention_queries + n];
    low.of[n] = k_fma(query, k0, low.of[n]);
    high.of[n] = k_fma(query, k1, high.of[n]);
  }
}

/// The dots of the eight queries with keys lane and lane + 32 of the chunk that begins at element
/// `first`: chains over d.
template <bool f32>
K_FN void tile_scores(K_CONST const AttentionArgs& a, K_GROUP AttentionTileShared& s,
                      uint64_t first, uint32_t most, uint32_t lane, K_THREAD Eight& low,
                      K_THREAD Eight& high) {
  K_UNROLL
  for (uint32_t n = 0u; n < attention_queries; ++n) low.of[n] = high.of[n] = 0.0f;
  const uint32_t key = lane < most ? lane : 0u, key_32 = lane + lanes < most ? lane + lanes : 0u;
  uint32_t d = 0u;
  for (; d + 8u <= a.cache.key_dim; d += 8u) {
    float k0[8], k1[8];
    load_keys<f32, 8u>(a, first, d, key, k0);
    load_keys<f32, 8u>(a, first, d, key_32, k1);
    K_UNROLL
    for (uint32_t u = 0u; u < 8u; ++u) add_scores(s, d + u, k0[u], k1[u], low, high);
  }
  for (; d < a.cache.key_dim; ++d) {
    float k0, k1;
    load_keys<f32, 1u>(a, first, d, key, &k0);
    load_keys<f32, 1u>(a, first, d, key_32, &k1);
    add_scores(s, d, k0, k1, low, high);
  }
}

/// part[n] += weight[j][n]·v, for elements d and d + 32 of value j.
K_FN void add_outputs(K_GROUP AttentionTileShared& s, uint32_t j, float v0, float v1,
                      K_THREAD Eight& part, K_THREAD Eight& part_32) {
  K_UNROLL
  for (uint32_t n = 0u; n < attention_queries; ++n) {
    const float weight = s.weights[j * attention_queries + n];
    part.of[n] = k_fma(weight, v0, part.of[n]);
    part_32.of[n] = k_fma(weight, v1, part_32.of[n]);
  }
}

/// Σ_j weight[j][n]·v[j] in order of j, over the keys that query n sees, for elements d and d + 32
/// of the values; the chunk's values begin at element `first`.
template <bool f32>
K_FN void tile_outputs(K_CONST const AttentionArgs& a, K_GROUP AttentionTileShared& s,
                       K_THREAD const TileKeys& keys, uint64_t first, uint32_t d,
                       K_THREAD Eight& part, K_THREAD Eight& part_32) {
  K_UNROLL
  for (uint32_t n = 0u; n < attention_queries; ++n) part.of[n] = part_32.of[n] = 0.0f;
  for (uint32_t j = keys.earliest / 8u * 8u; j < keys.most; j += 8u) {
    float v0[8], v1[8];
    load_values<f32, 8u>(a, first, j, keys.most, d, v0);
    load_values<f32, 8u>(a, first, j, keys.most, d + lanes, v1);
    if (j >= keys.latest && j + 8u <= keys.least) {
      K_UNROLL
      for (uint32_t u = 0u; u < 8u; ++u) add_outputs(s, j + u, v0[u], v1[u], part, part_32);
    } else {
      K_UNROLL
      for (uint32_t u = 0u; u < 8u; ++u) {
        Eight next = part, next_32 = part_32;
        add_outputs(s, j + u, v0[u], v1[u], next, next_32);
        K_UNROLL
        for (uint32_t n = 0u; n < attention_queries; ++n) {
          part.of[n] = sees(keys, n, j + u) ? next.of[n] : part.of[n];
          part_32.of[n] = sees(keys, n, j + u) ? next_32.of[n] : part_32.of[n];
        }
      }
    }
  }
}

/// A query's output so far. `pieces`: of 32 elements of a value.
template <uint32_t pieces>
struct TileOutput {
  float o[pieces];  // elements lane, lane + 32 …
};

/// The softmax of a chunk's scores: weights to shared memory, and what the chunk changes of the
/// lane's own query, lane / 4, if that `goes_on` so far. `begins`: it is the first that it sees; what
/// was before is forgotten.
template <bool special>
K_FN void tile_softmax(K_CONST const AttentionArgs& a, K_GROUP AttentionTileShared& s,
                       K_THREAD const TileSight& sight, K_THREAD const TileKeys& keys,
                       uint32_t chunk, float slope, K_THREAD Eight& low, K_THREAD Eight& high,
                       K_THREAD RunningSoftmax& running, bool goes_on, bool begins, uint32_t lane) {
  const float none = k_float(0xff800000u);
  Eight both;
  K_UNROLL
  for (uint32_t n = 0u; n < attention_queries; ++n) {
    const uint32_t distance = sight.all[n] - 1u - chunk * key_chunk - lane;
    const float first = score_of<special>(a, low.of[n], slope, distance);
    const float second = score_of<special>(a, high.of[n], slope, distance - lanes);
    low.of[n] = sees(keys, n, lane) ? first : none;
    high.of[n] = sees(keys, n, lane + lanes) ? second : none;
    both.of[n] = high.of[n] > low.of[n] ? high.of[n] : low.of[n];
  }
  const float chunk_max = simd_reduce_eight<Highest>(both, lane);
  K_UNROLL
  for (uint32_t n = 0u; n < attention_queries; ++n) {
    const float m = of_query(chunk_max, n);
    low.of[n] = k_exp(low.of[n] - m);
    high.of[n] = k_exp(high.of[n] - m);
    both.of[n] = low.of[n] + high.of[n];
  }
  const float chunk_sum = simd_reduce_eight<Sum>(both, lane);
  K_UNROLL
  for (uint32_t n = 0u; n < attention_queries; ++n)
    s.weights[lane * attention_queries + n] = low.of[n];
  K_UNROLL
  for (uint32_t n = 0u; n < attention_queries; ++n)
    s.weights[(lane + lanes) * attention_queries + n] = high.of[n];
  RunningSoftmax next = running;
  const ChunkWeights change = next_softmax(next, chunk_max, chunk_sum, begins);
  if (goes_on) running = next;
  if (lane % 4u == 0u) {
    s.old_weights[lane / 4u] = change.old_weight;
    s.new_weights[lane / 4u] = change.new_weight;
  }
}

template <bool f32, uint32_t pieces, bool special>
K_FN void attend_tile(K_CONST const AttentionArgs& a, K_GROUP AttentionTileShared& s, Thread t) {
  // The last queries see the most keys: they come first.
  const uint32_t tiles = (a.tokens + attention_queries - 1u) / attention_queries;
  const uint32_t first_token = (tiles - 1u - t.group_y) * attention_queries, head = t.group_x;
  const uint32_t value_dim = a.cache.value_dim, key_dim = a.cache.key_dim;
  K_DEV const uint32_t* pages = pages_of(a.cache, a.step.sequences[first_token]);
  for (uint32_t i = t.lane; i < attention_queries * key_dim; i += lanes) {
    const uint32_t n = i / key_dim, d = i % key_dim;
    s.queries[d * attention_queries + n] =
        first_token + n < a.tokens
            ? a.queries[(uint64_t(first_token + n) * a.heads + head) * key_dim + d]
            : 0.0f;
  }
  const float slope = slope_of<special>(a, head);
  TileSight sight;
  uint32_t own_keys = 0u, own_first = 0u, begin = 0xffffffffu;
  TileOutput<pieces> outputs[8];
  K_UNROLL
  for (uint32_t n = 0u; n < attention_queries; ++n) {
    sight.all[n] = first_token + n < a.tokens ? a.step.positions[first_token + n] + 1u : 0u;
    sight.first[n] = sight.all[n] > 0u ? first_key<special>(a, sight.all[n] - 1u) : 0u;
    own_keys = t.lane / 4u == n ? sight.all[n] : own_keys;
    own_first = t.lane / 4u == n ? sight.first[n] : own_first;
    if (sight.all[n] > 0u && sight.first[n] / key_chunk < begin) begin = sight.first[n] / key_chunk;
    K_UNROLL
    for (uint32_t f = 0u; f < pieces; ++f) outputs[n].o[f] = 0.0f;
  }
  RunningSoftmax running = {0.0f, 0.0f};  // of the lane's query
  barrier_group();
  for (uint32_t chunk = special ? begin : 0u;; ++chunk) {
    const TileKeys keys = keys_of_chunk<special>(sight, chunk);
    if (keys.most == 0u) break;  // of the whole group
    const uint64_t rows = rows_before(a.cache, pages[chunk], kv_head_of(a, head));
    Eight low, high;
    tile_scores<f32>(a, s, rows * key_dim, keys.most, t.lane, low, high);
    tile_softmax<special>(a, s, sight, keys, chunk, slope, low, high, running,
                          own_keys > chunk * key_chunk, chunk == own_first / key_chunk, t.lane);
    barrier_group();
    K_UNROLL
    for (uint32_t f = 0u; f < pieces; f += 2u) {
      if (f * lanes >= value_dim) break;
      Eight part, part_32;
      tile_outputs<f32>(a, s, keys, rows * value_dim, f * lanes + t.lane, part, part_32);
      K_UNROLL
      for (uint32_t n = 0u; n < attention_queries; ++n) {
        if (keys.of[n] == keys.begin[n]) continue;
        const ChunkWeights change = {s.old_weights[n], s.new_weights[n]};
        const bool begins = chunk == sight.first[n] / key_chunk;
        outputs[n].o[f] = next_output(outputs[n].o[f], part.of[n], change, begins);
        outputs[n].o[f + 1u] = next_output(outputs[n].o[f + 1u], part_32.of[n], change, begins);
      }
    }
    barrier_group();  // the weights have been read
  }
  const bool has_sink = special && a.sinks != nullptr;
  const float left = has_sink ? add_sink(running, a.sinks[head]) : 1.0f;
  const uint32_t width = a.heads * value_dim;
  K_UNROLL
  for (uint32_t n = 0u; n < attention_queries; ++n) {
    const uint32_t token = first_token + n;
    const float sum = of_query(running.sum, n);
    const float of_output = has_sink ? of_query(left, n) : 1.0f;
    K_UNROLL
    for (uint32_t f = 0u; f < pieces; ++f) {
      const uint32_t d = f * lanes + t.lane;
      if (f * lanes >= value_dim) break;
      const bool inside = d < value_dim && token < a.tokens;
      const float o = has_sink ? k_floor_tiny(outputs[n].o[f] * of_output) : outputs[n].o[f];
      const float y = inside ? k_floor_tiny(k_div(o, sum)) : 0.0f;
      if (a.y != nullptr && inside) a.y[uint64_t(token) * width + head * value_dim + d] = y;
      if (a.quantised.codes != nullptr)
        quantise_lanes(y, a.quantised, (token * width + head * value_dim + f * lanes) / quantum,
                       t.lane, inside);
    }
  }
}

}  // namespace assay

/// Grid: (heads, tokens / 8); key_dim up to 128, value_dim up to 64, and 128 in those named so. The
/// eight queries of a group are of one sequence, at any positions. The quantised form needs
/// value_dim to be whole blocks of 32.
K_KERNEL(attention_tile, assay::AttentionArgs, assay::AttentionTileShared, assay::Exactly<32>) {
  if (a.cache.f32 != 0u)
    assay::attend_tile<true, 2u, false>(a, s, t);
  else
    assay::attend_tile<false, 2u, false>(a, s, t);
}
K_KERNEL(attention_tile_128, assay::AttentionArgs, assay::AttentionTileShared, assay::Exactly<32>) {
  if (a.cache.f32 != 0u)
    assay::attend_tile<true, 4u, false>(a, s, t);
  else
    assay::attend_tile<false, 4u, false>(a, s, t);
}
K_KERNEL(attention_tile_special, assay::AttentionArgs, assay::AttentionTileShared,
         assay::Exactly<32>) {
  if (a.cache.f32 != 0u)
    assay::attend_tile<true, 2u, true>(a, s, t);
  else
    assay::attend_tile<false, 2u, true>(a, s, t);
}
K_KERNEL(attention_tile_128_special, assay::AttentionArgs, assay::AttentionTileShared,
         assay::Exactly<32>) {
  if (a.cache.f32 != 0u)
    assay::attend_tile<true, 4u, true>(a, s, t);
  else
    assay::attend_tile<false, 4u, true>(a, s, t);
}
