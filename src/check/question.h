// One operation of a model, or one that stands alone: what it was given, what it gave, and whether
// that is right.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "diff/diff.h"
#include "diff/side.h"
#include "judge/formulas.h"
#include "op/program.h"
#include "trace/npy.h"
#include "trace/trace_file.h"

namespace assay::check {

using judge::Table;

struct Question {
  const op::Program* program = nullptr;  ///< must outlive the question
  size_t operation = 0;                  ///< index into its operations
  trace::TraceStep step;                 ///< tokens (embed) and positions (rope, attention)
  std::vector<Table> inputs;             ///< of operation.inputs
  Table keys, values;                    ///< attention: all that the cache holds, a row a position
  Table output;                          ///< what the kernel gave
  bool output_is_f16 = false;            ///< half an ulp of f16 more is allowed
  std::string cache;                     ///< "f16", "f32"; empty: what the contract's engine keeps
};

/// The question under one contract.
struct Trial {
  std::string contract;
  judge::Coding coding;  ///< matmul: that of the contract's which fits best
  judge::Seen seen;
};

struct Answer {
  diff::Verdict verdict = diff::Verdict::fail;
  std::string sentence;
  std::vector<Trial> trials;  ///< under the contract asked for first, or all
  Trial best;                 ///< that which the verdict is about
  double got = 0, want = 0;   ///< of the worst element
  std::optional<diff::Cause> cause;

  std::vector<std::string> fits() const;  ///< contracts under which nothing fails
};

/// Judges the output under `contract`, or, where it is empty, finds the first that fits. A failure
/// gets its cause: under the contract asked for, else under the first that explains it.
Answer answer(const Question& question, const std::string& contract);

/// What the operation must give under a contract (its first coding), and how far off each element
/// may be.
judge::Judged expected(const Question& question, const std::string& contract);

/// The schema assay.check/1.
std::string to_json(const Question& question, const Answer& answer);

/// The operation that NAME means: "blk.3.q", or the tensor "blk.3.attn_q" (".weight" may follow);
/// "output" is the head, also where it is tied. Errors: none such (lists what there is).
Result<size_t> find_operation(const op::Program& program, const std::string& name);

/// Rows of `width` values: the last dimensions' product must be the width, what stands before them
/// counts the rows. Errors: another shape; no row; NaN or infinity, unless `any_value`.
Result<Table> to_table(const trace::Npy& array, uint64_t width, const std::string& path,
                       bool any_value = false);

}  // namespace assay::check
