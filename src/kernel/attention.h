// y[h] = Σ_j softmax_j(q[h]·K[j]·scale) V[j] over keys 0 … position of the query's sequence. A
// group owns a query's head; its simds take the chunks of 64 keys, and each round of chunks is
// combined in order (docs/numbers.md, "Attention"). A few queries of many keys would leave most of
// a GPU idle so: then several groups share a head (`attention_chunks`), and another kernel combines
// what they leave in memory, in the same order.
// What has a window, a soft cap, ALiBi or sinks is `special`: it has kernels of its own, so that the
// others have neither its registers nor its branches.
#pragma once

#include "kernel/cache.h"
#include "lang/activation.h"

namespace assay {

K_TABLE uint32_t most_head_dim = 512;    // widest head that attention takes
K_TABLE uint32_t most_whole_keys = 512;  // of a query whose head one group takes
K_TABLE uint32_t most_split_tokens = 4;  // of a step whose heads several groups share

struct AttentionArgs {
  CacheView cache;
  StepInputs step;
  K_DEV const float* queries;
  K_DEV float* y;       // null: only the quantised form is wanted
  Quantised quantised;  // codes null: only y is wanted
  // The special kernels' alone:
  K_DEV const float* slopes;  // (heads): what a position of distance takes from a score; or null
  K_DEV const float* sinks;   // (heads): one more score, without a value; or null
  uint32_t heads;
  float scale;
  uint32_t tokens;
  // The special kernels' alone:
  uint32_t window;   // keys that a query sees at most; 0: all
  uint32_t chunked;  // not 0: the window begins at a multiple of itself
  float soft_cap;    // 0: none
};
static_assert(sizeof(AttentionArgs) == 168, "the host and every device agree");

/// Attention whose chunks of keys are left in memory, to be combined by another kernel.
struct AttentionChunksArgs {
  AttentionArgs of;
  K_DEV float* outputs;  // (tokens, heads, chunks, value_dim)
  K_DEV float* softmax;  // (tokens, heads, chunks): max and sum
  uint32_t chunks;       // that there is room for
  uint32_t parts;        // groups that share a head
};
static_assert(sizeof(AttentionChunksArgs) == 192, "the host and every device agree");

K_TABLE uint32_t attention_simds = 8;

struct AttentionQuery {
  float query[512];
};
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

/// Two keys of a lane: lane and lane + 32 of a chunk.
struct KeyPair {
  float low, high;
};
/// Adds the products of elements d … d + batch − 1.
template <bool f32, uint32_t batch>
K_FN void add_products(K_CONST const AttentionArgs& a, K_GROUP const float* query, uint64_t first,
                       uint32_t d, uint32_t key, uint32_t key_32, K_THREAD KeyPair& dots) {
  float k0[batch], k1[batch];
  load_keys<f32, batch>(a, first, d, key, k0);
  load_keys<f32, batch>(a, first, d, key_32, k1);
  K_UNROLL
  for (uint32_t u = 0u; u < batch; ++u) {
    dots.low = k_fma(query[d + u], k0[u], dots.low);
    dots.high = k_fma(query[d + u], k1[u], dots.high);
  }
}

/// The first key that a query at this position sees.
template <bool special>
K_FN uint32_t first_key(K_CONST const AttentionArgs& a, uint32_t position) {
  if (!special || a.window == 0u) return 0u;
  if (a.chunked != 0u) return position / a.window * a.window;
  return position < a.window ? 0u : position - a.window + 1u;
}
template <bool special>
K_FN float slope_of(K_CONST const AttentionArgs& a, uint32_t head) {
  return special && a.slopes != nullptr ? a.slopes[head] : 0.0f;
}
/// The score of a key that lies `distance` positions before the query.
template <bool special>
K_FN float score_of(K_CONST const AttentionArgs& a, float dot, float slope, uint32_t distance) {
  float s = dot * a.scale;
  if (special && a.soft_cap != 0.0f) s = soft_cap<OneLane>(s, a.soft_cap);
  if (special && a.slopes != nullptr) s = k_fma(-slope, float(distance), s);
  return s;
}

/// A chunk of which a query sees keys begin … valid − 1.
struct Chunk {
  uint64_t first_key, first_value;  // elements of the cache
  uint32_t begin, valid;            // keys
  uint32_t distance;                // of key 0 from the query
};
/// Whether the query sees a key of the chunk.
K_FN bool sees(Chunk chunk, uint32_t key) {
  return key - chunk.begin < chunk.valid - chunk.begin;
}
/// Chunk `index` of a query that sees keys first … keys − 1, in a page.
K_FN Chunk chunk_of(K_CONST const CacheView& cache, uint32_t page, uint32_t kv_head, uint32_t first,
                    uint32_t keys, uint32_t index) {
  const uint64_t rows = rows_before(cache, page, kv_head);
  const uint32_t before = index * key_chunk, left = keys - before;
  const Chunk chunk = {rows * cache.key_dim, rows * cache.value_dim,
                       first > before ? first - before : 0u, left < key_chunk ? left : key_chunk,
                       left - 1u};
  return chunk;
}

/// The scores of a chunk's keys; −infinity where the query does not see a key.
template <bool f32, bool special>
K_FN KeyPair chunk_scores(K_CONST const AttentionArgs& a, K_GROUP const float* query, Chunk chunk,
                          float slope, uint32_t lane) {
  const uint64_t first = chunk.first_key;
  const uint32_t key = lane < chunk.valid ? lane : 0u;
  const uint32_t key_32 = lane + lanes < chunk.valid ? lane + lanes : 0u;
  KeyPair dots = {0.0f, 0.0f};
  uint32_t d = 0u;
  for (; d + 32u <= a.cache.key_dim; d += 32u)
    add_products<f32, 32u>(a, query, first, d, key, key_32, dots);
  for (; d + 8u <= a.cache.key_dim; d += 8u)
    add_products<f32, 8u>(a, query, first, d, key, key_32, dots);
  for (; d < a.cache.key_dim; ++d) add_products<f32, 1u>(a, query, first, d, key, key_32, dots);
  const float none = k_float(0xff800000u);
  const float low = score_of<special>(a, dots.low, slope, chunk.distance - lane);
  const float high = score_of<special>(a, dots.high, slope, chunk.distance - lane - lanes);
  const KeyPair scores = {sees(chunk, lane) ? low : none, sees(chunk, lane + lanes) ? high : none};
  return scores;
}

/// The softmax of one chunk: its max, the weights of the lane's keys against it, and their sum.
struct ChunkSoftmax {
  float max, sum;
  KeyPair weights;
};
template <bool f32, bool special>
K_FN ChunkSoftmax chunk_softmax(K_CONST const AttentionArgs& a, K_GROUP const float* query,
                                Chunk chunk, float slope, uint32_t lane) {
  const KeyPair score = chunk_scores<f32, special>(a, query, chunk, slope, lane);
  ChunkSoftmax softmax;
  softmax.max = simd_max_ordered(score.high > score.low ? score.high : score.low);
  softmax.weights.low = k_exp(score.low - softmax.max);
  softmax.weights.high = k_exp(score.high - softmax.max);
  softmax.sum = simd_sum_ordered(softmax.weights.low + softmax.weights.high);
  return softmax;
}
/// Elements d and d + 32 of a value.
struct ElementPair {
  float first, second;
};
/// o[d] = Σ_j p_j·v[j][d] of one chunk in order of j: a lane for each d and d + 32, the weights
/// from their lanes.
template <bool f32>
K_FN ElementPair chunk_output(K_CONST const AttentionArgs& a, Chunk chunk, KeyPair weights,
                              uint32_t d) {
  ElementPair o = {0.0f, 0.0f};
  for (uint32_t j = chunk.begin / lanes * lanes; j < chunk.valid; j += lanes) {
    float v0[32], v1[32];
    load_values<f32, 32u>(a, chunk.first_value, j, chunk.valid, d, v0);
    load_values<f32, 32u>(a, chunk.first_value, j, chunk.valid, d + lanes, v1);
    K_UNROLL
    for (uint32_t u = 0u; u < 32u; ++u) {
      const float p = shuffle_from_f32(j == 0u ? weights.low : weights.high, u);
      o.first = sees(chunk, j + u) ? k_fma(p, v0[u], o.first) : o.first;
      o.second = sees(chunk, j + u) ? k_fma(p, v1[u], o.second) : o.second;
    }
  }
  return o;
}

/// What a chunk changes: o = o·old_weight + part·new_weight.
struct ChunkWeights {
  float old_weight, new_weight;
};
/// Max and sum after the chunks so far.
struct RunningSoftmax {
  float max, sum;
};
/// One more chunk of this max and sum; `begins`: the first one.
K_FN ChunkWeights next_softmax(K_THREAD RunningSoftmax& running, float chunk_max, float chunk_sum,
                               bool begins) {
  const float m = begins || chunk_max > running.max ? chunk_max : running.max;
  const ChunkWeights change = {begins ? 0.0f : k_exp(running.max - m), k_exp(chunk_max - m)};
  running.sum =
      begins ? chunk_sum : k_fma(running.sum, change.old_weight, chunk_sum * change.new_weight);
  running.max = m;
  return change;
}
/// An element of a query's output after one more chunk.
K_FN float next_output(float o, float part, ChunkWeights change, bool begins) {
  const float scaled = k_floor_tiny(part * change.new_weight);
  return begins ? part : k_floor_tiny(k_fma(o, change.old_weight, scaled));
}

/// A sink's share, after the last chunk; gives what it leaves of the output.
K_FN float add_sink(K_THREAD RunningSoftmax& running, float sink) {
  const float m = sink > running.max ? sink : running.max;
  const float left = k_exp(running.max - m);
  running.sum = k_fma(running.sum, left, k_exp(sink - m));
  running.max = m;
  return left;
}

/// Element d of a query's head, after the last chunk; `d` is not there beyond value_dim.
K_FN void store_attention(K_CONST const AttentionArgs& a, uint32_t token, uint32_t head, uint32_t d,
                          float o, float sum, uint32_t lane) {
  const uint32_t value_dim = a.cache.value_dim, width = a.heads * value_dim;
  const bool inside = d < value_dim;
  const float y = inside ? k_floor_tiny(k_div(o, sum)) : 0.0f;
  if (a.y != nullptr && inside) a.y[uint64_t(token) * width + head * value_dim + d] = y;
  if (a.quantised.codes != nullptr)
    quantise_lanes(y, a.quantised, (token * width + head * value_dim + d) / quantum, lane, inside);
}

K_FN void load_query(K_CONST const AttentionArgs& a, K_GROUP float* to, uint32_t token,
                     uint32_t head, Thread t) {
  K_DEV const float* query = a.queries + (uint64_t(token) * a.heads + head) * a.cache.key_dim;
  for (uint32_t d = t.index; d < a.cache.key_dim; d += t.group_size) to[d] = query[d];
}
K_FN uint32_t kv_head_of(K_CONST const AttentionArgs& a, uint32_t head) {
  return head / (a.heads / a.cache.kv_heads);
}

template <bool f32, bool special>
K_FN void attend(K_CONST const AttentionArgs& a, K_GROUP AttentionShared& s, Thread t) {
  const uint32_t token = t.group_y, head = t.group_x;
  const uint32_t keys = a.step.positions[token] + 1u;
  const uint32_t seen = first_key<special>(a, keys - 1u), begin = seen / key_chunk;
  const float slope = slope_of<special>(a, head);
  const uint32_t chunks = (keys + key_chunk - 1u) / key_chunk;
  const uint32_t value_dim = a.cache.value_dim, simds = t.group_size / lanes;
  K_DEV const uint32_t* pages = pages_of(a.cache, a.step.sequences[token]);
  uint32_t page = pages[begin + t.simd < chunks ? begin + t.simd : 0u];  // beside the query
  load_query(a, s.query, token, head, t);
  RunningSoftmax running = {0.0f, 0.0f};
  float o[2] = {0.0f, 0.0f};  // of d = index and index + group_size
  for (uint32_t first = begin; first < chunks; first += simds) {
    barrier_group();  // the query is there, the last round has been read
    if (first + t.simd < chunks) {
      const Chunk chunk = chunk_of(a.cache, page, kv_head_of(a, head), seen, keys, first + t.simd);
      const uint32_t next = first + simds + t.simd;
      page = pages[next < chunks ? next : 0u];
      const ChunkSoftmax softmax = chunk_softmax<f32, special>(a, s.query, chunk, slope, t.lane);
      if (t.lane == 0u) {
        s.max[t.simd] = softmax.max;
        s.sum[t.simd] = softmax.sum;
      }
      K_GROUP float* outputs = s.outputs + t.simd * most_head_dim;
      for (uint32_t first_d = 0u; first_d < value_dim; first_d += 2u * lanes) {
        const uint32_t d = first_d + t.lane;
        const ElementPair part = chunk_output<f32>(a, chunk, softmax.weights, d);
        if (d < value_dim) outputs[d] = part.first;
        if (d + lanes < value_dim) outputs[d + lanes] = part.second;
      }
    }
    barrier_group();
    for (uint32_t i = 0u; i < simds && first + i < chunks; ++i) {
      const bool begins = first + i == begin;
      const ChunkWeights change = next_softmax(running, s.max[i], s.sum[i], begins);
      for (uint32_t e = 0u; e < 2u; ++e) {
        const uint32_t d = t.index + e * t.group_size;
        if (d >= value_dim) continue;
        o[e] = next_output(o[e], s.outputs[i * most_head_dim + d], change, begins);
      }
    }
  }
  if (special && a.sinks != nullptr) {
    const float left = add_sink(running, a.sinks[head]);
    for (uint32_t e = 0u; e < 2u; ++e) o[e] = k_floor_tiny(o[e] * left);
  }
  for (uint32_t e = 0u; e < 2u; ++e)
    store_attention(a, token, head, t.index + e * t.group_size, o[e], running.sum, t.lane);
}

/// Where the chunks of a query's head begin in what attention_chunks leaves.
K_FN uint64_t chunks_before(K_CONST const AttentionChunksArgs& a, uint32_t token, uint32_t head) {
  return (uint64_t(token) * a.of.heads + head) * a.chunks;
}

/// Chunks part·simds + simd, and so many further on.
template <bool f32, bool special>
K_FN void attend_chunks(K_CONST const AttentionChunksArgs& a, K_GROUP AttentionQuery& s, Thread t) {
  const uint32_t token = t.group_y, head = t.group_x / a.parts, part = t.group_x % a.parts;
  const uint32_t keys = a.of.step.positions[token] + 1u, value_dim = a.of.cache.value_dim;
  const uint32_t chunks = (keys + key_chunk - 1u) / key_chunk, simds = t.group_size / lanes;
  K_DEV const uint32_t* pages = pages_of(a.of.cache, a.of.step.sequences[token]);
  const uint32_t seen = first_key<special>(a.of, keys - 1u);
  const float slope = slope_of<special>(a.of, head);
  const uint32_t own = seen / key_chunk + part * simds + t.simd;
  uint32_t page = pages[own < chunks ? own : 0u];
  load_query(a.of, s.query, token, head, t);
  barrier_group();
  for (uint32_t i = own; i < chunks; i += a.parts * simds) {
    const Chunk chunk = chunk_of(a.of.cache, page, kv_head_of(a.of, head), seen, keys, i);
    page = pages[i + a.parts * simds < chunks ? i + a.parts * simds : 0u];
    const ChunkSoftmax softmax = chunk_softmax<f32, special>(a.of, s.query, chunk, slope, t.lane);
    const uint64_t to = chunks_before(a, token, head) + i;
    if (t.lane == 0u) {
      a.softmax[2u * to] = softmax.max;
      a.softmax[2u * to + 1u] = softmax.sum;
    }
    for (uint32_t first_d = 0u; first_d < value_dim; first_d += 2u * lanes) {
      const uint32_t d = first_d + t.lane;
      const ElementPair o = chunk_output<f32>(a.of, chunk, softmax.weights, d);
      if (d < value_dim) a.outputs[to * value_dim + d] = o.first;
      if (d + lanes < value_dim) a.outputs[to * value_dim + d + lanes] = o.second;
    }
  }
}

/// The highest of the lanes up to and with this one.
K_FN float simd_max_to(float x, uint32_t lane) {
  for (uint32_t step = 1u; step < lanes; step *= 2u) {
    const float before = shuffle_from_f32(x, lane >= step ? lane - step : lane);
    x = x > before ? x : before;
  }
  return x;
}

/// Element d of all chunks in order, 32 at a time: a lane makes the weights of one of them, as
/// next_softmax does, and the chain takes them from the lanes.
template <bool special>
K_FN void combine_chunks(K_CONST const AttentionChunksArgs& a, uint32_t d, Thread t) {
  const uint32_t token = t.group_y, head = t.group_x, value_dim = a.of.cache.value_dim;
  const uint32_t position = a.of.step.positions[token];
  const uint32_t chunks = position / key_chunk + 1u;
  const uint32_t begin = first_key<special>(a.of, position) / key_chunk;
  const uint64_t from = chunks_before(a, token, head);
  const uint32_t element = d < value_dim ? d : 0u;
  RunningSoftmax running = {0.0f, 0.0f};
  float o = 0.0f;
  for (uint32_t first = begin; first < chunks; first += lanes) {
    float part[32];
    K_UNROLL
    for (uint32_t u = 0u; u < lanes; ++u)
      part[u] = a.outputs[(from + (first + u < chunks ? first + u : first)) * value_dim + element];
    const uint64_t own = from + (first + t.lane < chunks ? first + t.lane : first);
    const float chunk_max = a.softmax[2u * own], chunk_sum = a.softmax[2u * own + 1u];
    float m = simd_max_to(chunk_max, t.lane);
    if (first != begin) m = m > running.max ? m : running.max;
    const float before = shuffle_from_f32(m, t.lane > 0u ? t.lane - 1u : 0u);
    const float old_weight = k_exp((t.lane > 0u ? before : running.max) - m);
    const float new_weight = k_exp(chunk_max - m), new_sum = chunk_sum * new_weight;
    K_UNROLL
    for (uint32_t u = 0u; u < lanes; ++u) {
      const ChunkWeights change = {shuffle_from_f32(old_weight, u),
                                   shuffle_from_f32(new_weight, u)};
      const float sum = shuffle_from_f32(new_sum, u);
      const bool begins = first + u == begin, there = first + u < chunks;
      const float next_sum = begins ? sum : k_fma(running.sum, change.old_weight, sum);
      running.sum = there ? next_sum : running.sum;
      o = there ? next_output(o, part[u], change, begins) : o;
    }
    running.max = shuffle_from_f32(m, lanes - 1u);
  }
  if (special && a.of.sinks != nullptr) o = k_floor_tiny(o * add_sink(running, a.of.sinks[head]));
  store_attention(a.of, token, head, d, o, running.sum, t.lane);
}

}  // namespace assay

/// Grid: (heads, tokens). The quantised form needs value_dim to be whole blocks of 32.
K_KERNEL(attention, assay::AttentionArgs, assay::AttentionShared, assay::AtMost<256>) {
  if (a.cache.f32 != 0u)
    assay::attend<true, false>(a, s, t);
  else
    assay::attend<false, false>(a, s, t);
}
K_KERNEL(attention_special, assay::AttentionArgs, assay::AttentionShared, assay::AtMost<256>) {
  if (a.cache.f32 != 0u)
    assay::attend<true, true>(a, s, t);
  else
    assay::attend<false, true>(a, s, t);
}

/// The chunks' softmaxes and outputs, by `parts` groups a head. Grid: (heads·parts, tokens).
K_KERNEL(attention_chunks, assay::AttentionChunksArgs, assay::AttentionQuery, assay::AtMost<256>) {
  if (a.of.cache.f32 != 0u)
    assay::attend_chunks<true, false>(a, s, t);
  else
    assay::attend_chunks<false, false>(a, s, t);
}
K_KERNEL(attention_chunks_special, assay::AttentionChunksArgs, assay::AttentionQuery,
         assay::AtMost<256>) {
  if (a.of.cache.f32 != 0u)
    assay::attend_chunks<true, true>(a, s, t);
  else
    assay::attend_chunks<false, true>(a, s, t);
}
/// What attention gives, from what attention_chunks left. Grid: (heads, tokens), a thread for each
/// of value_dim as far as there are.
K_KERNEL(attention_combine, assay::AttentionChunksArgs, assay::NoShared, assay::AtMost<256>) {
  for (uint32_t first = 0u; first < a.of.cache.value_dim; first += t.group_size)
    assay::combine_chunks<false>(a, first + t.index, t);
}
K_KERNEL(attention_combine_special, assay::AttentionChunksArgs, assay::NoShared,
         assay::AtMost<256>) {
  for (uint32_t first = 0u; first < a.of.cache.value_dim; first += t.group_size)
    assay::combine_chunks<true>(a, first + t.index, t);
}
