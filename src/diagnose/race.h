// Two runs of one engine that should have the same bits.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "diff/diff.h"
#include "trace/trace_file.h"

namespace assay::diagnose {

struct Race {
  std::string operation;
  diff::Cause cause;
};

/// The first tensor whose bits differ between two traces of one engine, contract, model and cut of
/// the tokens: all before it are equal, and so what it was made of is. Nothing where traces are not
/// such, or all bits are equal. Errors: as Trace::values.
Result<std::optional<Race>> find_race(const trace::Trace& a, const trace::Trace& b);

}  // namespace assay::diagnose
