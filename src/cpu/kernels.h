// The kernels of one instruction set, as a table of functions. Sizes are in elements unless they
// say bytes. Each computes the contract's order of operations (docs/numbers.md) and nothing else.
#pragma once

#include <cstdint>

namespace assay::cpu {

inline constexpr uint32_t quantum = 32;     ///< activations that share a scale
inline constexpr uint32_t sum_chunk = 256;  ///< columns whose sum is kept apart
inline constexpr uint32_t key_chunk = 64;   ///< keys of attention whose softmax is kept apart

/// A quantised row of activations: codes (columns), and for each 32: the scale d, d·Σcodes, and
/// Σcodes of each half.
struct QuantisedRow {
  int8_t* codes;
  float* scale;        // (columns / 32)
  float* scaled_sum;   // (columns / 32): RN(d·float(Σ codes))
  int32_t* half_sums;  // (columns / 16)
};

/// One attention head of one query over a sequence's keys 0 … key_count − 1 of one KV head. Chunk c
/// of 64 keys lies in page pages[c]: its keys (key_dim, 64) begin at keys + pages[c]·key_page, its
/// values (64, value_stride) at values + pages[c]·value_page; both f16 or f32.
struct AttentionHead {
  const float* query;  // (key_dim)
  const void* keys;
  const void* values;
  const uint32_t* pages;
  uint64_t key_page, value_page;  // elements from a page to the next
  uint32_t key_count;
  uint32_t key_dim, value_dim, value_stride;  // value_stride: value_dim up to a multiple of 16
  float scale;
  float* scratch;  // (2·value_stride)
  float* output;   // (value_dim)
};

struct Kernels {
  const char* isa;
  /// x (columns), a multiple of 32 → codes and scales.
  void (*quantise)(const float* x, uint64_t columns, const QuantisedRow& out);
  /// Panels [first, last) of a weight of `format` times `columns_count` rows of activations, plus
  /// bias where not null: y[c·y_stride + row].
  void (*matmul)(uint32_t format, const uint8_t* panels, uint64_t panel_bytes, uint64_t rows,
                 uint64_t columns, uint64_t first, uint64_t last, const QuantisedRow* x,
                 uint32_t count, const float* bias, float* y, uint64_t y_stride);
  /// The same with f32 activations: float formats, and every format under contract f32.
  void (*matmul_f32)(uint32_t format, const uint8_t* panels, uint64_t panel_bytes, uint64_t rows,
                     uint64_t columns, uint64_t first, uint64_t last, const float* const* x,
                     uint32_t count, const float* bias, float* y, uint64_t y_stride);
  void (*rms_norm)(const float* x, const float* weight, uint64_t n, float eps, float* y);
  /// Rotates one head in place of a copy: table (dimensions/2) of cos, sin.
  void (*rope)(const float* x, const float* table, uint32_t head_dim, uint32_t dimensions,
               bool adjacent, float* y);
  /// y = f(gate)·up, f an op::Activation by its number.
  void (*gate)(uint32_t activation, const float* gate, const float* up, uint64_t n, float* y);
  void (*add)(const float* a, const float* b, uint64_t n, float* y);
  void (*attention_f16)(const AttentionHead& head);
  void (*attention_f32)(const AttentionHead& head);
  void (*to_f16)(const float* x, uint64_t n, uint16_t* y);
  /// The instruction set's int8 multiply-and-add alone, from registers: for measuring a machine's
  /// peak. Returns the multiplications and additions done.
  uint64_t (*int8_peak)(uint64_t rounds);
};

/// The table for a name ("avx2", "avx512", "portable"); null where this build or this machine does
/// not have it.
const Kernels* find_kernels(const char* isa);
/// The best of this machine; null where it is older than the minimum (x86-64-v3).
const Kernels* best_kernels();

}  // namespace assay::cpu
