// The causal swap: which of many differences matters. The wrong engine's run is made again (the
// judge under its contract, with what its failing operations are off by), then once more for every
// cut, with one operation's output taken from the other trace.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "diff/side.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::diff {

struct Report;

struct Swap {
  bool of_a = false;      ///< a's run was made again, and takes b's tensors
  uint64_t position = 0;  ///< the first whose best tokens differ, else the one of the greatest KL
  int32_t token = -1, wanted = -1;  ///< best token there of this trace, and of the other one
  double divergence = 0;            ///< KL from the other trace's logits at this position
  bool reproduced = false;          ///< the run made again has `token`, and at least half the KL

  struct Cut {
    std::string operation;
    int32_t token;      ///< best with this output replaced; −1: NaN
    double divergence;  ///< KL from the other trace's logits
    bool restores;      ///< it is the wanted token; where both have that: under a tenth of the KL
  };
  std::vector<Cut> cuts;  ///< in the program's order
};

/// Takes the side of the report's first failure, else a. Every layer's output is replaced, and
/// every operation of the layers in which the first failure lies or the answer changes. Errors: no
/// logits of a common position, an operation that a trace lacks.
Result<Swap> swap(const op::Program& program, const trace::Trace& a, const trace::Trace& b,
                  const Report& report,
                  const std::function<void(uint64_t done, uint64_t total)>& progress = {});

/// "replacing blk.3.down alone restores token 42; …"
std::string sentence_of(const Swap& swap);

}  // namespace assay::diff
