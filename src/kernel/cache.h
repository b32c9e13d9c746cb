// The KV cache in pages of 64 positions, which a table gives to sequences: keys (key_dim, 64), so that
// neighbouring lanes read neighbouring keys; values (64, value_dim), so that they read neighbouring
// elements.
#pragma once

#include "kernel/elementwise.h"

namespace assay {

struct StoreArgs {
  CacheView cache;
  StepInputs step;
  K_DEV const float* keys;
  K_DEV const float* values;
};
static_assert(sizeof(StoreArgs) == 104, "the host and every device agree");

/// Rotates queries and keys, and stores keys and values: rope, rope and kv_store in one.
struct RopeStoreArgs {
  CacheView cache;
  StepInputs step;
  K_DEV const float* queries;
  K_DEV float* rotated;
  K_DEV const float* keys;
  K_DEV const float* values;
  uint32_t heads, dimensions, adjacent, unused;
};
static_assert(sizeof(RopeStoreArgs) == 136, "the host and every device agree");

/// What the cache holds at the step's positions, as f32: for traces.
struct LoadArgs {
  CacheView cache;
  StepInputs step;
  K_DEV float* keys;
  K_DEV float* values;
};
static_assert(sizeof(LoadArgs) == 104, "the host and every device agree");

/// The pages of a sequence's chunks.
K_FN K_DEV const uint32_t* pages_of(K_CONST const CacheView& cache, uint32_t sequence) {
  return cache.table + uint64_t(sequence) * cache.stride;
}
/// Rows of the cache before a KV head's 64 in a page: its keys begin at element rows·key_dim, its
/// values at rows·value_dim.
K_FN uint64_t rows_before(K_CONST const CacheView& cache, uint32_t page, uint32_t kv_head) {
  return (uint64_t(page) * cache.kv_heads + kv_head) * key_chunk;
}
K_FN uint64_t key_index(K_CONST const CacheView& cache, uint32_t sequence, uint32_t kv_head,
                        uint32_t position, uint32_t d) {
  const uint32_t page = pages_of(cache, sequence)[position / key_chunk];
  return rows_before(cache, page, kv_head) * cache.key_dim + d * key_chunk + position % key_chunk;
}
K_FN uint64_t value_index(K_CONST const CacheView& cache, uint32_t sequence, uint32_t kv_head,
                          uint32_t position, uint32_t d) {
  const uint32_t page = pages_of(cache, sequence)[position / key_chunk];
  return (rows_before(cache, page, kv_head) + position % key_chunk) * cache.value_dim + d;
}

/// The type is known where many elements are loaded together: a branch would part the loads.
template <bool f32>
K_FN float cache_element(K_DEV const uint8_t* base, uint64_t index) {
  if (f32) return reinterpret_cast<K_DEV const float*>(base)[index];
  return k_f16_to_f32(reinterpret_cast<K_DEV const uint16_t*>(base)[index]);
}
K_FN float cache_load(K_DEV const uint8_t* base, uint64_t index, uint32_t f32) {
  return f32 != 0u ? cache_element<true>(base, index) : cache_element<false>(base, index);
}
K_FN void cache_store(K_DEV uint8_t* base, uint64_t index, uint32_t f32, float value) {
  if (f32 != 0u)
    reinterpret_cast<K_DEV float*>(base)[index] = value;
  else
    reinterpret_cast<K_DEV uint16_t*>(base)[index] = k_f32_to_f16(value);
}

/// Stores element `column` of the values of token `token`.
K_FN void store_value(K_CONST const CacheView& cache, K_CONST const StepInputs& step,
                      K_DEV const float* values, uint32_t token, uint32_t column) {
  const uint64_t index = value_index(cache, step.sequences[token], column / cache.value_dim,
                                     step.positions[token], column % cache.value_dim);
  cache_store(cache.values, index, cache.f32,
              values[uint64_t(token) * cache.kv_heads * cache.value_dim + column]);
}

}  // namespace assay

/// Grid: (kv_heads·(key_dim + value_dim) / group size, tokens).
K_KERNEL(kv_store, assay::StoreArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t key_width = a.cache.kv_heads * a.cache.key_dim;
  const uint32_t value_width = a.cache.kv_heads * a.cache.value_dim;
  const uint32_t column = t.group_x * t.group_size + t.index;
  if (column < key_width) {
    const uint64_t index =
        assay::key_index(a.cache, a.step.sequences[t.group_y], column / a.cache.key_dim,
                         a.step.positions[t.group_y], column % a.cache.key_dim);
    assay::cache_store(a.cache.keys, index, a.cache.f32,
                       a.keys[uint64_t(t.group_y) * key_width + column]);
  } else if (column < key_width + value_width) {
    assay::store_value(a.cache, a.step, a.values, t.group_y, column - key_width);
  }
}

/// rope of the queries, rope of the keys and kv_store in one. Grid: ((heads + kv_heads)·key_dim +
/// kv_heads·value_dim over the group size, tokens).
K_KERNEL(rope_store, assay::RopeStoreArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t dim = a.cache.key_dim;
  const uint32_t query_width = a.heads * dim, key_width = a.cache.kv_heads * dim;
  const uint32_t value_width = a.cache.kv_heads * a.cache.value_dim;
  const uint32_t token = t.group_y;
  K_DEV const float* table = a.step.rope + uint64_t(token) * a.dimensions;
  const uint32_t column = t.group_x * t.group_size + t.index;
  if (column < query_width) {
    K_DEV const float* row = a.queries + uint64_t(token) * query_width;
    a.rotated[uint64_t(token) * query_width + column] = assay::rope_element(
        row + column / dim * dim, table, column % dim, a.dimensions, a.adjacent);
  } else if (column < query_width + key_width) {
    const uint32_t i = column - query_width;
    K_DEV const float* row = a.keys + uint64_t(token) * key_width;
    const float key =
        assay::rope_element(row + i / dim * dim, table, i % dim, a.dimensions, a.adjacent);
    assay::cache_store(a.cache.keys,
                       assay::key_index(a.cache, a.step.sequences[token], i / dim,
                                        a.step.positions[token], i % dim),
                       a.cache.f32, key);
  } else if (column < query_width + key_width + value_width) {
    assay::store_value(a.cache, a.step, a.values, token, column - query_width - key_width);
  }
}

/// What the cache holds at the step's positions. Grid as kv_store's.
K_KERNEL(kv_load, assay::LoadArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t key_width = a.cache.kv_heads * a.cache.key_dim;
  const uint32_t value_width = a.cache.kv_heads * a.cache.value_dim;
  const uint32_t sequence = a.step.sequences[t.group_y], position = a.step.positions[t.group_y];
  const uint32_t column = t.group_x * t.group_size + t.index;
  if (column < key_width) {
    const uint64_t index = assay::key_index(a.cache, sequence, column / a.cache.key_dim, position,
                                            column % a.cache.key_dim);
    a.keys[uint64_t(t.group_y) * key_width + column] =
        assay::cache_load(a.cache.keys, index, a.cache.f32);
  } else if (column < key_width + value_width) {
    const uint32_t i = column - key_width;
    const uint64_t index = assay::value_index(a.cache, sequence, i / a.cache.value_dim, position,
                                              i % a.cache.value_dim);
    a.values[uint64_t(t.group_y) * value_width + i] =
        assay::cache_load(a.cache.values, index, a.cache.f32);
  }
}
