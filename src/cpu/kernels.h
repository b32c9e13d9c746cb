// The kernels of one instruction set, as a table of functions. Sizes are in elements unless their
// name says bytes. Each function follows exactly the contract's order of operations
// (docs/numbers.md).
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

/// One attention head of one query over a sequence's keys first_key … key_count − 1 of one KV head,
/// the last of which is the query's own. Chunk c of 64 keys lies in page pages[c]: its keys (key_dim, 64) begin at keys + pages[c]·key_page, its
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
  uint32_t first_key;  // those before it are hidden
  float soft_cap;      // 0: none
  float slope;         // ALiBi's, of this head; 0: none
  const float* sink;   // this head's; null: none
  float* scratch;      // (2·value_stride)
  float* output;       // (value_dim)
};

/// Of op::Xielu.
struct XieluNumbers {
  float alpha_p, alpha_n, beta, eps;
};

/// Those of cpu/kernels_elementwise.h.
struct RowKernels {
  /// x (columns), a multiple of 32 → codes and scales.
  void (*quantise)(const float* x, uint64_t columns, const QuantisedRow& out);
  void (*rms_norm)(const float* x, const float* weight, uint64_t n, float eps, float* y);
  /// `bias` may be null.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, uint64_t n, float eps,
                     float* y);
  /// Rotates one head in place of a copy: table (dimensions/2) of cos, sin.
  void (*rope)(const float* x, const float* table, uint32_t head_dim, uint32_t dimensions,
               bool adjacent, float* y);
  /// y = f(x), f an op::Activation by its number.
  void (*activate)(uint32_t activation, const float* x, uint64_t n, float* y);
  /// y = f(gate)·up
  void (*gate)(uint32_t activation, const float* gate, const float* up, uint64_t n, float* y);
  /// The same with one gate for n values.
  void (*gate_all)(uint32_t activation, float gate, const float* up, uint64_t n, float* y);
  void (*xielu)(const float* x, const XieluNumbers& numbers, uint64_t n, float* y);
  void (*soft_cap)(const float* x, float cap, uint64_t n, float* y);
  void (*clamp)(const float* x, float low, float high, uint64_t n, float* y);
  /// y = x·factor, floored.
  void (*multiply_floored)(const float* x, float factor, uint64_t n, float* y);
  /// y (n) = Σ x[u]·weights[u] over x (count, n); weights null: Σ x[u].
  void (*mix)(const float* x, const float* weights, uint32_t count, uint64_t n, float* y);
  /// A router's probabilities.
  void (*softmax)(const float* x, uint64_t n, float* y);
  void (*sigmoid)(const float* x, uint64_t n, float* y);
  void (*add)(const float* a, const float* b, uint64_t n, float* y);
  void (*to_f16)(const float* x, uint64_t n, uint16_t* y);
};

struct Kernels : RowKernels {
  const char* isa;
  /// Panels [first, last) of a weight of `format` times `count` rows of activations, plus bias where
  /// not null: y[c][row].
  void (*matmul)(uint32_t format, const uint8_t* panels, uint64_t panel_bytes, uint64_t rows,
                 uint64_t columns, uint64_t first, uint64_t last, const QuantisedRow* x,
                 uint32_t count, const float* bias, float* const* y);
  /// The same with f32 activations: float formats, and every format under contract f32.
  void (*matmul_f32)(uint32_t format, const uint8_t* panels, uint64_t panel_bytes, uint64_t rows,
                     uint64_t columns, uint64_t first, uint64_t last, const float* const* x,
                     uint32_t count, const float* bias, float* const* y);
  void (*attention_f16)(const AttentionHead& head);
  void (*attention_f32)(const AttentionHead& head);
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
