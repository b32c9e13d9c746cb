// The causal swap finds which of many differences matters. It makes the wrong engine's run again
// (with the judge under that engine's contract, plus the errors of the failing operations), and
// then once more per cut, with one operation's output taken from the other trace.
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

/// Uses the side of the report's first failure, or a if there is none. It replaces the output of
/// each layer, and of each operation in the layers where the first failure lies or the answer
/// changes. Errors: no position whose logits both traces have, or an operation that a trace lacks.
Result<Swap> swap(const op::Program& program, const trace::Trace& a, const trace::Trace& b,
                  const Report& report,
                  const std::function<void(uint64_t done, uint64_t total)>& progress = {});

/// "replacing blk.3.down alone restores token 42; …"
std::string sentence_of(const Swap& swap);

}  // namespace assay::diff
