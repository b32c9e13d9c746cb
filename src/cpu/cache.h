// One KV cache of a program, for every sequence. Keys in chunks of 64 positions as (kv_heads, key_dim,
// 64), so that a register's lanes are keys; values as (kv_heads, positions, value_stride). Pages
// are touched only when written.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "cpu/kernels.h"
#include "op/executor.h"
#include "op/program.h"

namespace assay::cpu {

class Cache {
 public:
  Cache(const op::CacheShape& shape, const op::ExecutorOptions& options);

  static uint64_t bytes(const op::CacheShape& shape, const op::ExecutorOptions& options);
  bool allocated() const { return keys_ && values_; }

  /// Stores one position's keys (kv_heads·key_dim) and values (kv_heads·value_dim).
  void store(uint32_t sequence, uint32_t position, const float* keys, const float* values);
  /// What was stored, as f32. For traces.
  void read(uint32_t sequence, uint32_t position, float* keys, float* values) const;

  /// Start of a KV head's keys and values: what AttentionHead takes.
  const uint8_t* keys(uint32_t sequence, uint32_t kv_head) const;
  const uint8_t* values(uint32_t sequence, uint32_t kv_head) const;
  uint32_t value_stride() const { return value_stride_; }

 private:
  uint64_t head_index(uint32_t sequence, uint32_t kv_head) const {
    return uint64_t(sequence) * shape_.kv_heads + kv_head;
  }

  op::CacheShape shape_;
  bool f16_;
  uint32_t positions_, value_stride_;  // positions: the context up to a multiple of 64
  std::unique_ptr<uint8_t, void (*)(void*)> keys_{nullptr, std::free}, values_{nullptr, std::free};
};

}  // namespace assay::cpu
