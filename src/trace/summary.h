// A trace as a table: one line an operation.
#pragma once

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

}  // namespace assay::trace
