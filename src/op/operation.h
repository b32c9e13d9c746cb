// One operation of a program: what it reads, what it writes, and the parameters of its kind. What
// is true of all operations of a kind is in kinds.h.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "op/activation.h"

namespace assay::op {

inline constexpr uint32_t none = std::numeric_limits<uint32_t>::max();

/// A parameter that is a plain number of the operation alone: its name, what it may be, and what a
/// test gives it.
struct Number {
  const char* name;
  double low, high, usual;
};

/// y[t] = W[token[t]], or W[position[t]]                    W: (vocabulary or positions, width)
struct Embed {
  bool of_position = false;
};

/// y[i] = x[i] / √(Σ x²/n + eps) · w[i]. With `parts` above 1 a row is cut into parts of equal
/// length n, each normalised by itself: the norm of queries and keys per head. The weight is (n),
/// the same for all parts, or (parts·n).
struct RmsNorm {
  float eps = 0;
  uint32_t parts = 1;

  template <class Self, class Visit>
  static void each_number(Self& p, const Visit& visit) {
    visit(Number{"eps", 1e-30, 1, 1e-5}, p.eps);
    visit(Number{"parts", 1, 65536, 1}, p.parts);
  }
};

/// y[i] = (x[i] − m) / √(Σ (x − m)²/n + eps) · w[i] (+ b[i]), m = Σ x/n; `parts` and the weight's
/// shape as RmsNorm's, the bias has the weight's.
struct LayerNorm {
  float eps = 0;
  uint32_t parts = 1;

  template <class Self, class Visit>
  static void each_number(Self& p, const Visit& visit) {
    RmsNorm::each_number(p, visit);
  }
};

/// y[r] = Σ_c W[r, c]·x[c] (+ b[r])                                     W: (rows, columns)
struct Matmul {};

/// Rotates the pairs of each head by position·frequency (RopeTable).
struct Rope {
  uint32_t table = 0;  ///< index into Program::rope_tables
  uint32_t heads = 0;  ///< heads in a row

  template <class Self, class Visit>
  static void each_number(Self& p, const Visit& visit) {
    visit(Number{"heads", 1, 65536, 1}, p.heads);
  }
};

/// Writes the step's keys and values, inputs 0 and 1, into a cache. It has no output.
struct KvStore {
  uint32_t cache = 0;  ///< index into Program::caches
};

/// y[h] = Σ_j softmax_j(s[j]) V[j] over the keys that the query sees (first_key() … position);
/// head h reads KV head h / group, where group = heads / kv_heads. s[j] = q[h]·K[j]·scale, then
/// cap·tanh(s/cap) where there is a soft cap, then − slope[h]·(position − j) where there is ALiBi.
/// The weight, where there is one, is a sink: a score per head (heads) that takes its share of the
/// softmax and has no value.
struct Attend {
  uint32_t cache = 0;  ///< index into Program::caches
  uint32_t heads = 0;
  float scale = 0;       ///< 1/√key_dim unless the model says otherwise
  uint32_t window = 0;   ///< keys that a query sees at most, its own among them; 0: all before it
  bool chunked = false;  ///< the window begins at a multiple of `window` instead
  float soft_cap = 0;    ///< 0: none
  float alibi = 0;       ///< the largest exponent of ALiBi's slopes (alibi_slope()); 0: none
};

/// y[i] = f(gate[i / r])·up[i]; a gate of fewer values covers r of `up` with each.
struct Gate {
  Activation activation = Activation::silu;
};

/// y[i] = f(x[i])
struct Activate {
  Activation activation = Activation::silu;
};

/// y[i] = alpha_p·x² + beta·x where x > 0, else alpha_n·(e^min(x, eps) − 1 − x) + beta·x.
/// Source: Huang and Schlag 2025 (xIELU).
struct Xielu {
  float alpha_p = 0, alpha_n = 0, beta = 0, eps = 0;

  template <class Self, class Visit>
  static void each_number(Self& p, const Visit& visit) {
    visit(Number{"alpha_p", -1e6, 1e6, 0.8}, p.alpha_p);
    visit(Number{"alpha_n", -1e6, 1e6, 1.3}, p.alpha_n);
    visit(Number{"beta", -1e6, 1e6, 0.5}, p.beta);
    visit(Number{"eps", -1, 0, -1e-6}, p.eps);
  }
};

/// y[i] = a[i] + b[i]
struct Add {};

/// y[i] = x[i]·factor (+ b[i])
struct Scale {
  float factor = 1;

  template <class Self, class Visit>
  static void each_number(Self& p, const Visit& visit) {
    visit(Number{"factor", -3.4e38, 3.4e38, 0.3}, p.factor);
  }
};

/// y[i] = cap·tanh(x[i]/cap)
struct SoftCap {
  float cap = 1;

  template <class Self, class Visit>
  static void each_number(Self& p, const Visit& visit) {
    visit(Number{"cap", 1e-6, 1e30, 30}, p.cap);
  }
};

/// y[i] = x[i], not below `low`, not above `high`
struct Clamp {
  float low = 0, high = 0;

  template <class Self, class Visit>
  static void each_number(Self& p, const Visit& visit) {
    visit(Number{"low", -3.4e38, 3.4e38, -0.8}, p.low);
    visit(Number{"high", -3.4e38, 3.4e38, 0.7}, p.high);
  }
};

/// y[t, i] = x[t, i]·growth(position[t])                                (RopeTable::growth)
struct PositionScale {
  uint32_t table = 0;  ///< index into Program::rope_tables
};

/// Of each of `parts` equal parts of a row, the values first … first + width − 1.
struct Slice {
  uint32_t first = 0, width = 0, parts = 1;

  template <class Self, class Visit>
  static void each_number(Self& p, const Visit& visit) {
    visit(Number{"first", 0, 1 << 24, 1}, p.first);
    visit(Number{"width", 1, 1 << 24, 2}, p.width);
    visit(Number{"parts", 1, 65536, 1}, p.parts);
  }
};

/// Chooses experts from their logits x (experts). A row of the output is a routing: the ids of the
/// `used` chosen experts, best first (of equals the lower id first), then their weights, all f32.
///   p[e] = softmax(x)[e], or 1/(1 + e^−x[e]) where `sigmoid`
///   the choice goes by x[e] where there is no bias, else by p[e] + b[e] (the bias only chooses);
///   with groups, only among the experts of the `used_groups` groups whose value, their best, or
///   the sum of their best two where `by_two`, is highest
///   weight = p[e], or softmax over the chosen logits alone where `of_chosen`; divided by their sum
///   where `renormalise`; times `scale`
struct Route {
  uint32_t used = 1;
  uint32_t groups = 1, used_groups = 1;
  uint32_t by_two = 0, sigmoid = 0, of_chosen = 0, renormalise = 0;  ///< 0 or 1
  float scale = 1;

  template <class Self, class Visit>
  static void each_number(Self& p, const Visit& visit) {
    visit(Number{"used", 1, 65536, 2}, p.used);
    visit(Number{"groups", 1, 65536, 1}, p.groups);
    visit(Number{"used_groups", 1, 65536, 1}, p.used_groups);
    visit(Number{"by_two", 0, 1, 0}, p.by_two);
    visit(Number{"sigmoid", 0, 1, 0}, p.sigmoid);
    visit(Number{"of_chosen", 0, 1, 0}, p.of_chosen);
    visit(Number{"renormalise", 0, 1, 1}, p.renormalise);
    visit(Number{"scale", -1e6, 1e6, 1}, p.scale);
  }
};

/// Each chosen expert's product, from one row for all (columns) or one for each (used, columns):
/// y[u, r] = Σ_c W[e(u), r, c]·x[(u,) c] (+ b[e(u), r]).   W: (experts·rows, columns), b: (experts,
/// rows)
struct MatmulExperts {
  uint32_t experts = 1;

  template <class Self, class Visit>
  static void each_number(Self& p, const Visit& visit) {
    visit(Number{"experts", 1, 65536, 4}, p.experts);
  }
};

/// y[u, i] = x[u, i]·w[e(u)] (+ b[e(u), i])                        w: (experts), b: (experts, width)
struct ScaleExperts {};

/// y[u, i] = x[i]·weight(u): a row for each chosen expert
struct SpreadExperts {};

/// y[i] = Σ_u x[u, i]·weight(u), or Σ_u x[u, i] where not `weighted`
struct MixExperts {
  uint32_t weighted = 1;  ///< 0 or 1

  template <class Self, class Visit>
  static void each_number(Self& p, const Visit& visit) {
    visit(Number{"weighted", 0, 1, 1}, p.weighted);
  }
};

/// y = the rows of the tokens whose logits are wanted
struct SelectRows {};

/// The closed list of operations. Executors and the judge visit it, so code that forgets a kind
/// does not compile.
using Parameters =
    std::variant<Embed, RmsNorm, LayerNorm, Matmul, Rope, KvStore, Attend, Gate, Activate, Xielu,
                 Add, Scale, SoftCap, Clamp, PositionScale, Slice, Route, MatmulExperts,
                 ScaleExperts, SpreadExperts, MixExperts, SelectRows>;

/// The same list as numbers, for tables with a row per kind.
enum class Kind {
  embed,
  rms_norm,
  layer_norm,
  matmul,
  rope,
  kv_store,
  attention,
  gate,
  activate,
  xielu,
  add,
  scale,
  soft_cap,
  clamp,
  position_scale,
  slice,
  route,
  matmul_experts,
  scale_experts,
  spread_experts,
  mix_experts,
  select_rows
};
inline constexpr size_t kind_count = std::variant_size_v<Parameters>;

/// What an operation is to the model; reports and statistics ask for it.
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

/// Whether the operation multiplies activations with a weight's rows.
inline bool multiplies(const Operation& operation) {
  return operation.is<Matmul>() || operation.is<MatmulExperts>();
}

/// The parts of a norm's rows; 1 for another kind.
inline uint32_t parts_of(const Operation& operation) {
  if (const auto* norm = operation.as<RmsNorm>()) return norm->parts;
  if (const auto* norm = operation.as<LayerNorm>()) return norm->parts;
  return 1;
}

/// Calls visit(Number, the parameter) for each parameter that is a Number; a rotary table or a cache
/// is the program's, and is not among them.
template <class Of, class Visit>
void each_number(Of& of, const Visit& visit) {
  std::visit(
      [&](auto& p) {
        using P = std::decay_t<decltype(p)>;
        if constexpr (requires { P::each_number(p, visit); }) P::each_number(p, visit);
      },
      of);
}

}  // namespace assay::op
