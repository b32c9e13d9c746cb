// One KV cache of a program, in pages of 64 positions, which page tables assign to sequences. A
// page holds keys as (kv_heads, key_dim, 64), so that a register's lanes are keys, and values as
// (kv_heads, 64, value_stride). The machine's memory is taken when a page is written.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "cpu/kernels.h"
#include "op/executor.h"
#include "op/paging.h"
#include "op/program.h"

namespace assay::cpu {

static_assert(key_chunk == op::page_positions, "a page is a chunk of keys");

/// Where a position lies.
struct Place {
  uint32_t page, slot;  // slot: 0 … 63
};
inline Place place_of(const op::PageTable& table, uint32_t sequence, uint32_t position,
                      uint32_t group = 0) {
  return {table.page_of(sequence, position, group), position % key_chunk};
}

class Cache {
 public:
  /// `window` of the group that the cache is in.
  Cache(const op::CacheShape& shape, const op::ExecutorOptions& options, uint32_t window = 0);

  static uint64_t bytes(const op::CacheShape& shape, const op::ExecutorOptions& options,
                        uint32_t window = 0);
  bool allocated() const { return keys_ && values_; }

  /// Stores one position's keys (kv_heads·key_dim) and values (kv_heads·value_dim).
  void store(Place place, const float* keys, const float* values);
  /// Writes `value` into every place, used or not.
  void fill(float value);
  /// What was stored, as f32. For traces.
  void read(Place place, float* keys, float* values) const;

  /// A KV head's keys and values in page 0, and the elements from a page to the next: what
  /// AttentionHead takes.
  const uint8_t* keys(uint32_t kv_head) const;
  const uint8_t* values(uint32_t kv_head) const;
  uint64_t key_page() const { return shape_.kv_heads * head_keys(); }
  uint64_t value_page() const { return shape_.kv_heads * head_values(); }
  uint32_t value_stride() const { return value_stride_; }

 private:
  uint64_t head_keys() const { return uint64_t(shape_.key_dim) * key_chunk; }
  uint64_t head_values() const { return uint64_t(value_stride_) * key_chunk; }

  op::CacheShape shape_;
  bool f16_;
  uint32_t value_stride_;
  uint64_t rows_;  // pages·kv_heads·64
  std::unique_ptr<uint8_t, void (*)(void*)> keys_{nullptr, std::free}, values_{nullptr, std::free};
};

}  // namespace assay::cpu
