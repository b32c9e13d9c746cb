// One side of a diff: a trace whose operations are each judged from the engine's own inputs under
// its own contract.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "judge/judge.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::diff {

using judge::Arithmetic, judge::Caches, judge::Coding, judge::Inputs, judge::Judged, judge::Seen;
using judge::Table;

/// How much of what takes long is done, for people who wait.
using Advance = std::function<void(uint64_t done, uint64_t total)>;

enum class Verdict { pass, fail, unmeasured };
std::string_view name_of(Verdict verdict);

/// An operation over all steps.
struct JudgedOperation {
  Verdict verdict = Verdict::unmeasured;
  Seen seen;
  std::string why;       ///< unmeasured: what is missing; passed without being recorded: with what
  bool missing = false;  ///< in some step
  bool after_record = false;  ///< after the last block, and nothing that was recorded reads it
  Coding coding;              ///< matmul: that which fitted
  double hidden = 0;          ///< coarse arithmetic: faults below this share of its size may hide
  double exact_nmse = -1;  ///< matmuls of layer 0: Σ(got − exact)²/Σ exact²; negative: not taken
};

/// An operation that is wrong in one step.
struct Failure {
  uint32_t step;
  size_t operation;
  Seen seen;
  /// Where it reads what the trace lacks: it closes a segment, and any of these is wrong, or it is.
  std::vector<size_t> segment = {};
};

/// One operation of a trace together with what it reads, for diagnosis or a minimal case.
struct Scene {
  uint32_t step = 0;
  size_t operation = 0;
  trace::TraceStep tokens;
  std::vector<judge::Table> inputs;
  judge::Table output;  ///< empty where the trace doesn't have it
  Caches caches;        ///< as the operation saw them
  Coding coding;
  Arithmetic arithmetic;
  std::string contract;
  double rounding = 0;  ///< half an ulp, relative, of the type that the output is stored in; 0: f32
  Table spread;         ///< as Walk::Item has it; empty: all that it reads was recorded
};

struct Side {
  std::string engine, declared, contract;  ///< the contract as judge::contract_of() reads it
  bool found = false;  ///< by trying: the trace declares none, or one that doesn't fit
  std::string narrow;  ///< "F16", "BF16" where rounding to it left operations unmeasured
  Arithmetic arithmetic;
  size_t hidden_coding = 0;  ///< of products that the trace lacks: which of the contract's codings
  std::vector<JudgedOperation> operations;  ///< in the program's order
  std::vector<Failure> failures;            ///< in execution order
  std::optional<Scene> closing;             ///< of the first failure, where it closes a segment

  uint64_t count(Verdict verdict) const;
};

/// Settles how the trace's tensors are to be read whose dimensions are not (tokens, …), or could be
/// meant in several ways (4 heads of 4 tokens): in the way that comes nearest to the operation's
/// formula. Call it before anything else reads the trace. Which layouts other than the documented one
/// were found, a sentence each.
std::vector<std::string> arrange(const op::Program& program, trace::Trace& trace);

/// Errors: a tensor whose shape differs from the program's, a token beyond the vocabulary, a type
/// without numbers, a trace that holds statistics only.
Result<Side> judge_trace(const op::Program& program, const trace::Trace& trace,
                         const Advance& advance = {});

/// Σ(got − exact)²/Σ exact²
double nmse(const Table& got, const Table& exact);

/// For each failure of the side: the engine's values minus the judge's, (rows, width).
Result<std::vector<judge::Table>> errors_of(const op::Program& program, const trace::Trace& trace,
                                            const Side& side);

/// Replays the trace up to this place. Errors: as judge_trace; an input that is missing.
Result<Scene> scene_at(const op::Program& program, const trace::Trace& trace, const Side& side,
                       uint32_t step, size_t operation);
/// The scene's operation, judged.
Judged expect(const op::Program& program, const Scene& scene);

}  // namespace assay::diff
