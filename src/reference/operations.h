// The judge: every operation as its formula says, in plain loops and f64 sums. No SIMD, no threads,
// no caches of what was computed before; it shares no code with an executor that it judges, but the
// formats' own decode. Bits of `contract` mode (int8 codes, f16 cache) are made in the precision
// that docs/numbers.md names; all else in f64.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "op/program.h"

namespace assay::reference {

/// (rows, width) row-major.
struct Table {
  uint64_t rows = 0, width = 0;
  std::vector<double> data;

  Table() = default;
  Table(uint64_t row_count, uint64_t row_width)
      : rows(row_count), width(row_width), data(row_count * row_width) {}
  std::span<double> row(uint64_t r) { return std::span(data).subspan(r * width, width); }
  std::span<const double> row(uint64_t r) const {
    return std::span(data).subspan(r * width, width);
  }
};

/// A layer's cache of one sequence: keys (positions, kv_heads·key_dim), values (positions,
/// kv_heads·value_dim).
struct Cache {
  std::vector<std::vector<double>> keys, values;

  /// Writes one position; what stood behind it is forgotten.
  void store(uint32_t position, std::span<const double> key, std::span<const double> value);
};

/// w[c] = decode(W[row, c])                                                   (columns)
std::vector<double> decode_row(const op::Weight& weight, uint64_t row);

/// y[i] = x[i] / √(Σ x²/n + eps) · w[i]                                       x, w, y: (n)
std::vector<double> rms_norm(std::span<const double> x, std::span<const double> w, double eps);

/// Rule 1 of the contract: per 32 values, in f32, m = max|x|, d = m/127, code = rne(x·(127/m));
/// returns d·code. d = 0 where m < 2^-72; d = NaN where a value is NaN or infinite.          (n) →
/// (n)
std::vector<double> quantise(std::span<const double> x);

/// True where the contract quantises the activations that meet this weight: formats of blocks.
bool meets_quantised(const op::Weight& weight);

/// y[t, r] = Σ_c W[r, c]·x[t, c] (+ b[r])                      x: (tokens, columns) → (tokens,
/// rows)
Table matmul(const op::Weight& weight, const op::Weight* bias, const Table& x);

/// What is added up in a row: whole weights, or, where a chain of integer blocks adds them one by
/// one, the parts scale·code and minimum of each. The parts can cancel: |W| may be far smaller.
enum class Terms { weights, parts };

/// Σ_c |W|[r, c]·|x[t, c]| (+ |b[r]|), |W| as `terms` says: what rounding errors are measured
/// against.
Table matmul_magnitude(const op::Weight& weight, const op::Weight* bias, const Table& x,
                       Terms terms);

/// y₀ = (x₀·cos − x₁·sin)·magnitude, y₁ = (x₀·sin + x₁·cos)·magnitude, angle =
/// position·frequency[i], each pair of each head; the lanes from rope.dimensions on pass. x, y:
/// (heads·head_dim)
std::vector<double> rope(std::span<const double> x, const op::Rope& rope, uint32_t heads,
                         uint32_t position);

/// The f16 nearest to x (ties to even), infinity from 65520 on.
double round_to_f16(double x);

/// p[j] = e^(s[j] − max s) / Σ_k e^(s[k] − max s)
std::vector<double> softmax(std::span<const double> scores);

/// One head of one query over the keys 0 … position.
struct Attended {
  std::vector<double> score;        ///< s[j] = scale·Σ_d q[d]·K[j, d]        (keys)
  std::vector<double> magnitude;    ///< scale·Σ_d |q[d]·K[j, d]|             (keys)
  std::vector<double> probability;  ///< softmax(s)                           (keys)
  std::vector<double> output;       ///< y[i] = Σ_j p[j]·V[j, i]              (value_dim)
};
Attended attend(std::span<const double> query, const Cache& cache, uint32_t position,
                uint32_t kv_head, const op::Attention& attention);

/// All heads: head h reads KV head h / (heads/kv_heads).      query: (heads·key_dim) →
/// (heads·value_dim)
std::vector<double> attention(std::span<const double> query, const Cache& cache, uint32_t position,
                              const op::Attention& attention);

/// y[i] = g[i] / (1 + e^−g[i]) · u[i]
std::vector<double> swiglu(std::span<const double> gate, std::span<const double> up);

/// y[i] = a[i] + b[i]
std::vector<double> add(std::span<const double> a, std::span<const double> b);

/// y[i] = x[i]·factor + b[i]; b empty: no bias
std::vector<double> scale(std::span<const double> x, double factor, std::span<const double> b);

}  // namespace assay::reference
