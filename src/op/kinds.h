// One row per kind of operation: all facts that are not the formula's own. What only needs to know
// such facts (the program's checks, case files, kits, command lines, reports) reads the row.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "op/operation.h"

namespace assay::op {

struct Program;

/// What a kind wants as its weight.
enum class WeightShape {
  absent,
  vector,  ///< one row of F32
  matrix,  ///< (outputs, inputs)
  table    ///< (tokens, width): rows are looked up
};

struct KindRow {
  Kind kind;
  std::string_view name;
  std::string_view formula;  ///< plain text, for people
  /// What a kernel of this kind is given, by name. The program's values come first, `inputs` of
  /// them; keys and values that lie in the cache follow.
  std::span<const std::string_view> reads;
  uint32_t inputs;
  WeightShape weight = WeightShape::absent;
  bool bias = false;           ///< may have one
  bool cache = false;          ///< reads or writes a KV cache
  bool moves = false;          ///< gives what it is given: there is nothing to judge
  bool judged_rowwise = true;  ///< a part of the output's columns can be judged by itself
};

const KindRow& row_of(Kind kind);
inline const KindRow& row_of(const Parameters& of) {
  return row_of(Kind(of.index()));
}
inline const KindRow& row_of(const Operation& operation) {
  return row_of(operation.of);
}

/// "matmul", "rms_norm", …; a gate has the name of its activation's row.
std::string_view name_of(const Parameters& of);
inline std::string_view name_of(const Operation& operation) {
  return name_of(operation.of);
}
/// The kind that has this name, with the parameters that the name implies.
std::optional<Parameters> parameters_named(std::string_view name);
/// Every name that parameters_named() knows, in the order of the kinds.
std::vector<std::string_view> kind_names();
/// The formula of an operation, in plain text.
std::string_view formula_of(const Parameters& of);

/// How wide the operation's output is, from its inputs, weight and parameters; 0 for kv_store.
/// Asks for nothing that problem_of() would refuse but the output itself.
uint32_t output_width(const Program& program, const Operation& operation);

/// What does not fit together of inputs, weight, parameters and output, in one sentence without a
/// full stop; empty where all fits.
std::string problem_of(const Program& program, const Operation& operation);

/// Calls visit(name, number, low, high) for each parameter that is a plain number and belongs to
/// the operation alone (a rotary table or a cache is the program's, and is not among them).
template <class Of, class Visit>
void each_field(Of& of, const Visit& visit) {
  std::visit(
      [&](auto& p) {
        using P = std::decay_t<decltype(p)>;
        if constexpr (std::is_same_v<P, RmsNorm>) {
          visit("eps", p.eps, 1e-30, 1.0);
          visit("parts", p.parts, 1.0, 65536.0);
        } else if constexpr (std::is_same_v<P, Rope>) {
          visit("heads", p.heads, 1.0, 65536.0);
        } else if constexpr (std::is_same_v<P, Scale>) {
          visit("factor", p.factor, -3.4e38, 3.4e38);
        }
      },
      of);
}

}  // namespace assay::op
