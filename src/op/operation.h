// One operation of a program: what it reads, what it gives, and the parameters of its kind. What is
// true of all operations of a kind stands in kinds.h.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "op/activation.h"

namespace assay::op {

inline constexpr uint32_t none = std::numeric_limits<uint32_t>::max();

/// y[t] = W[token[t]]                                                   W: (vocabulary, width)
struct Embed {};

/// y[i] = x[i] / √(Σ x²/n + eps) · w[i]. With `parts` above 1 a row is cut into parts of equal
/// length n, each normalised by itself with the same weight: the norm of queries and keys per head.
struct RmsNorm {
  float eps = 0;
  uint32_t parts = 1;
};

/// y[r] = Σ_c W[r, c]·x[c] (+ b[r])                                     W: (rows, columns)
struct Matmul {};

/// Rotates the pairs of each head by position·frequency (RopeTable).
struct Rope {
  uint32_t table = 0;  ///< index into Program::rope_tables
  uint32_t heads = 0;  ///< heads in a row
};

/// Writes the step's keys and values, inputs 0 and 1, into a cache. It has no output.
struct KvStore {
  uint32_t cache = 0;  ///< index into Program::caches
};

/// y[h] = Σ_j softmax_j(q[h]·K[j]·scale) V[j], j <= position; head h reads KV head h / group, where
/// group = heads / kv_heads.
struct Attend {
  uint32_t cache = 0;  ///< index into Program::caches
  uint32_t heads = 0;
  float scale = 0;  ///< 1/√key_dim unless the model says otherwise
};

/// y[i] = f(gate[i])·up[i]
struct Gate {
  Activation activation = Activation::silu;
};

/// y[i] = a[i] + b[i]
struct Add {};

/// y[i] = x[i]·factor (+ b[i])
struct Scale {
  float factor = 1;
};

/// y = the rows whose logits are wanted
struct SelectRows {};

/// The closed list of operations. Executors and judges visit it, so that a kind that one of them
/// does not know does not compile.
using Parameters =
    std::variant<Embed, RmsNorm, Matmul, Rope, KvStore, Attend, Gate, Add, Scale, SelectRows>;

/// The same list as numbers, for tables with a row per kind.
enum class Kind {
  embed,
  rms_norm,
  matmul,
  rope,
  kv_store,
  attention,
  gate,
  add,
  scale,
  select_rows
};
inline constexpr size_t kind_count = std::variant_size_v<Parameters>;

/// What an operation is to the model, where reports and statistics ask for it.
enum class Role {
  inner,
  embedding,     ///< the first value of the residual stream
  block_output,  ///< the residual stream after a block
  logits
};

struct Operation {
  std::string name;  ///< canonical trace name, that of its output: "blk.3.q"
  Parameters of;
  std::vector<uint32_t> inputs = {};  ///< indices of values
  uint32_t output = none;             ///< index of a value; none for KvStore
  uint32_t weight = none;             ///< index of a weight, where the kind has one
  uint32_t bias = none;               ///< index of an F32 weight, where the kind may have one
  uint32_t layer = none;              ///< the block that it stands in
  Role role = Role::inner;

  Kind kind() const { return Kind(of.index()); }
  template <class Parameter>
  bool is() const {
    return std::holds_alternative<Parameter>(of);
  }
  /// The parameters of this kind; nullptr where the operation is of another.
  template <class Parameter>
  const Parameter* as() const {
    return std::get_if<Parameter>(&of);
  }
  template <class Parameter>
  Parameter* as() {
    return std::get_if<Parameter>(&of);
  }
};

/// Calls the overload for the operation's parameters: visit(operation, [&](const Add&) {…}, …).
template <class... Overloads>
struct Overloaded : Overloads... {
  using Overloads::operator()...;
};
template <class... Overloads>
Overloaded(Overloads...) -> Overloaded<Overloads...>;
template <class... Overloads>
decltype(auto) visit(const Operation& operation, Overloads&&... overloads) {
  return std::visit(Overloaded{std::forward<Overloads>(overloads)...}, operation.of);
}

}  // namespace assay::op
