// A trace as a table, with one line per operation.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "trace/trace_file.h"

namespace assay::trace {

/// Over all tokens and steps. NaN are counted and left out of the rest.
struct Summary {
  std::string name;
  double rms = 0, max_abs = 0, min = 0, max = 0, mean = 0;
  uint64_t nan = 0, infinite = 0, elements = 0;
};

/// In execution order of their first appearance; of traces of values and of statistics. Errors: a
/// tensor that holds no numbers, statistics of another shape than (tokens, 8).
Result<std::vector<Summary>> summarise(const Trace& trace);

/// One token's row of an operation.
struct TokenLine {
  uint64_t token = 0;  ///< counted over all steps
  double rms = 0, max_abs = 0;
  uint64_t nan = 0, infinite = 0, elements = 0;
  double rounding = 0;  ///< half an ulp, relative, of the type in which the trace keeps the values
};
using TokenLines = std::map<std::string, std::vector<TokenLine>>;  ///< by canonical name

/// Row by row, of the finished results of a program's operations; of traces of values and of
/// statistics. Tensors whose rows are not the step's tokens, nor those selected, are left out.
/// Errors: as summarise.
Result<TokenLines> token_lines(const op::Program& program, const Trace& trace);

}  // namespace assay::trace
