// Which operation of the model each tensor of a trace is, whatever the engine calls it: by shape, and by
// what the judge's formula makes of what was placed before.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::diff {

/// Why a tensor is thought to be an operation's output. The best evidence first.
enum class Evidence {
  values,   ///< the formula of what was placed before gives its values
  follows,  ///< its values are others, and what is computed from them is in the trace
  layers,   ///< the tensor of this name is this operation in other layers
  name      ///< only its name is like it
};
std::string_view name_of(Evidence evidence);

struct Placed {
  std::string tensor;     ///< the trace's own name, "model.layers.0.self_attn.q_proj"
  std::string operation;  ///< "blk.0.q"
  Evidence evidence = Evidence::values;
  double error =
      0;  ///< √(Σ(got − want)²/Σ want²), by `values` of its own, by `follows` of what follows
  double next = -1;     ///< that of the next best tensor; negative: none has the shape
  bool halves = false;  ///< a head's lanes are in halves, and the model's are neighbours
};

/// No other tensor comes near.
bool is_sure(const Placed& placed);

struct NotPlaced {
  std::string tensor;
  std::string why;
  bool same = false;  ///< it has the values of another tensor
};

struct Proposal {
  std::vector<Placed> placed;        ///< in the program's order
  std::vector<NotPlaced> left;       ///< tensors, in the trace's order
  std::vector<std::string> missing;  ///< operations that no tensor is
};

/// Looks at the first step. `trace` must have been opened with NameMap::as_they_are(). Errors: a trace that
/// holds statistics, a token beyond the vocabulary, a tensor that holds no numbers.
Result<Proposal> propose_names(const op::Program& program, const trace::Trace& trace);

/// The proposal as a file for NameMap: a line for each name with {n} for the layers' numbers, what is sure
/// first, and comments on how sure it is.
std::string to_yaml(const Proposal& proposal);

}  // namespace assay::diff
