// The closed list of operations, and a model's program: named operations over named values for one
// step. Shapes are (tokens, width) row-major f32 for values, (rows, columns) for weights.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace assay::op {

enum class Kind {
  embed,     ///< y[t] = W[token[t]]                                     W: (vocabulary, width)
  rms_norm,  ///< y[i] = x[i] / √(Σ x²/n + eps) · w[i]
  matmul,    ///< y[r] = Σ_c W[r,c]·x[c] (+ b[r])                         W: (rows, columns)
  rope,      ///< rotates the pairs of each head by position·frequency
  kv_store,  ///< inputs k, v: writes the step's keys and values into the layer's cache
  attention,  ///< y[h] = Σ_j softmax_j(q[h]·K[j]·scale) V[j], j <= position, head h reads KV head h
              ///< / group
  swiglu,     ///< y[i] = silu(gate[i])·up[i]
  add,        ///< y[i] = a[i] + b[i]
  scale,      ///< y[i] = x[i]·factor (+ b[i])
  select_rows  ///< y = the rows whose logits are wanted
};
std::string_view name_of(Kind kind);

inline constexpr uint32_t none = std::numeric_limits<uint32_t>::max();

/// A weight as the file holds it: `rows` rows of `columns` weights in a format of quant/formats.h.
struct Weight {
  std::string name;
  uint32_t type = 0;
  uint64_t rows = 0, columns = 0;
  std::span<const uint8_t> data;

  uint64_t row_bytes() const { return rows ? data.size() / rows : 0; }
  std::span<const uint8_t> row(uint64_t r) const {
    return data.subspan(r * row_bytes(), row_bytes());
  }
};

/// Rotary embedding. Pair i of a head (i < dimensions/2) turns by position·frequency[i]; both
/// outputs are multiplied by `magnitude`. Pairs are lanes (2i, 2i+1) where `adjacent`, else (i, i +
/// dimensions/2).
struct Rope {
  uint32_t dimensions = 0;  ///< lanes that turn; the rest of the head passes
  bool adjacent = true;
  double magnitude = 1.0;         ///< yarn's attention factor
  std::vector<double> frequency;  ///< radians a position, (dimensions/2)
};

struct Attention {
  uint32_t heads = 0, kv_heads = 0, key_dim = 0, value_dim = 0;
  float scale = 0;  ///< 1/√key_dim unless the model says otherwise
};

/// A value is (tokens, width), or (selected, width) after select_rows. Values of disjoint lifetime
/// share a buffer.
struct Value {
  std::string name;
  uint32_t width = 0;
  bool selected = false;
  uint32_t buffer = none;
};

struct Operation {
  Kind kind{};
  std::string name;              ///< canonical trace name, that of its output: "blk.3.q"
  std::vector<uint32_t> inputs;  ///< indices of values
  uint32_t output = none;        ///< index of a value; none for kv_store
  uint32_t weight = none;        ///< index of a weight: embed, rms_norm, matmul
  uint32_t bias = none;          ///< index of an F32 weight: matmul, scale
  uint32_t layer =
      none;       ///< the cache's layer: kv_store, attention; for the rest the block it stands in
  float eps = 0;  ///< rms_norm
  uint32_t heads = 0;  ///< rope: heads in a row
  float factor = 1;    ///< scale
};

struct Program {
  uint32_t vocabulary = 0, width = 0, layers = 0;
  uint32_t trained_context = 0;  ///< positions the model was trained for
  Rope rope;
  Attention attention;
  std::vector<Weight> weights;
  std::vector<Value> values;
  std::vector<Operation> operations;
  uint32_t buffers = 0;                ///< buffers that the values share
  std::vector<uint32_t> buffer_width;  ///< the widest value of each

  /// nullptr where the operation has none.
  const Weight* bias_of(const Operation& operation) const {
    return operation.bias == none ? nullptr : &weights[operation.bias];
  }

  uint32_t add_value(std::string name, uint32_t width, bool selected = false);
  uint32_t add_weight(Weight weight);
  /// Checks shapes of inputs, weight and output against the kind, and appends. Throws
  /// std::logic_error: a program that does not fit is our error, a file that does not fit is
  /// refused before (model/).
  uint32_t add_operation(Operation operation);
  /// Gives values of disjoint lifetime the same buffer. Call once, after the last operation.
  void assign_buffers();
};

/// Where the sequences' keys and values lie: positions 64·c … 64·c+63 of sequence s are in page
/// `pages[s·stride + c]`. An empty table means pages in order.
struct PageTable {
  std::span<const uint32_t> pages;  ///< (sequences, stride)
  uint32_t stride = 0;
};

/// One step: `tokens` new tokens, each at a position of a sequence. Within a sequence the positions
/// are consecutive and continue what the cache holds.
struct Step {
  std::span<const int32_t> tokens;
  std::span<const uint32_t> positions;
  std::span<const uint32_t> sequences;
  std::span<const uint32_t>
      selected;  ///< indices into tokens, ascending: rows whose logits are wanted
  PageTable pages = {};
};

}  // namespace assay::op
