// One operation of a trace with everything that it read and gave, small enough to send to somebody.
// `assay diff --case` writes this file and `assay trace replay` runs it again (assay.case/1, see
// docs/trace-format.md).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "diff/side.h"
#include "judge/judge.h"
#include "op/program.h"

namespace assay::cases {

/// The program has only this operation, in layer 0; its values are the inputs and the output. The
/// weight has only the rows that are needed: for a matmul those of the kept outputs, for an
/// embedding those of the tokens, for experts those of the kept outputs of each chosen expert.
struct Case {
  op::Program program;
  /// Operation 0. Of an embedding, tokens (or positions, where it is of these) are indices into
  /// `rows`; of experts, the ids of the routing count those that are kept.
  diff::Scene scene;
  std::vector<uint64_t> rows;  ///< which rows of the whole weight these are; empty: all
  uint64_t whole_rows = 0;     ///< how many the whole weight has
  uint64_t expert_rows = 0;    ///< matmul_experts: how many an expert has in the whole weight
  std::vector<int32_t> tokens;
  std::string engine, version;
  uint32_t layer = op::none;  ///< in the model
  judge::Seen seen;       ///< as the diff found it: token and row of the whole output, all failures
  judge::Table expected;  ///< as the judge had it when the case was written
  judge::Table allowed;   ///< |output − expected| up to this passes

  const op::Operation& operation() const { return program.operations[0]; }
  const judge::Table& output() const { return scene.output; }
  /// The row of the whole output that column `column` of this one is.
  uint64_t whole_row(uint64_t column) const;

  std::vector<std::shared_ptr<std::vector<uint8_t>>> bytes;  ///< what the weights point into
};

/// Cuts the scene of a failing operation out of its trace. For a matmul it keeps the rows with the
/// worst failures (at most `most_rows`) and their neighbours; everything else stays whole.
Case cut_case(const op::Program& program, const diff::Scene& scene, const std::string& engine,
              uint64_t most_rows = 32);

/// Errors: as write_atomically.
Status write_case(const Case& the, const std::string& path);

/// Errors, one sentence each: cannot be read; what parse_safetensors refuses; another format; a
/// number, list or shape that does not fit the operation.
Result<Case> open_case(const std::string& path);
Result<Case> parse_case(std::vector<uint8_t> bytes, const std::string& path);

}  // namespace assay::cases
