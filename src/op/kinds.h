// One row per kind of operation: its name, inputs, weight and other facts. Code that only needs
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
  matrix,  ///< (outputs, inputs); of experts one after another
  table    ///< (tokens, width): rows are looked up
};

struct KindRow {
  Kind kind;
  std::string_view name;
  std::string_view formula;  ///< plain text, for people
  /// The names of what a kernel of this kind reads. The first `inputs` of them are values of the
  /// program; the others are keys and values in the cache.
  std::span<const std::string_view> reads;
  uint32_t inputs;
  WeightShape weight = WeightShape::absent;
  bool optional = false;  ///< the weight need not be there
  bool bias = false;      ///< may have one
  bool cache = false;     ///< reads or writes a KV cache
  bool moves = false;     ///< gives what it is given: there is nothing to judge
  bool of_rows = false;   ///< a row is made of the inputs' rows, as wide, of weight and bias alone
};

const KindRow& row_of(Kind kind);
inline const KindRow& row_of(const Parameters& of) {
  return row_of(Kind(of.index()));
}
inline const KindRow& row_of(const Operation& operation) {
  return row_of(operation.of);
}

/// "matmul", "rms_norm", …; a gate or an activation has the name that its activation's row says.
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

/// The width of the operation's output, from its inputs, weight and parameters; 0 for kv_store. The
/// operation must be one that problem_of() accepts, except that its output need not exist yet.
uint32_t output_width(const Program& program, const Operation& operation);

/// Says in one sentence, without a full stop, which of the inputs, weight, parameters and output do
/// not fit together; empty if all fit.
std::string problem_of(const Program& program, const Operation& operation);

}  // namespace assay::op
