// Compares two traces of one prompt: which engine is wrong and where, or that neither is.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "diff/names.h"
#include "diff/noise.h"
#include "diff/side.h"
#include "diff/swap.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::diff {

/// How to record one more output, so that a segment that fails becomes a shorter one (narrow.h).
struct Narrow {
  std::string record;   ///< the operation whose output divides the segment best
  std::string command;  ///< that records it together with both ends of the segment; for an engine
                        ///< that assay cannot run, what to record in words
};

struct LogitsComparison {
  uint64_t positions = 0, top1_equal = 0;
  uint64_t certified = 0;  ///< positions where max|δ|, centred, is below half the gap: no flip
  double kl_mean = 0, kl_max = 0;
  std::vector<double> kl;  ///< KL(b ‖ a) at each position that both have
};

struct First {
  std::string operation;
  uint32_t layer = op::none;
  uint32_t step = 0;
  Seen seen;
  bool a = false, b = false;   ///< which side fails there
  uint64_t token = 0;          ///< the worst element's, counted over all steps
  double got = 0, wanted = 0;  ///< the worst element
  std::string where;           ///< all that fail in this step: "tokens 3 to 7, head 4 of 9"
  /// Where the operation closes a segment of operations that were not recorded: their number, the
  /// recorded one before them ("the tokens" where there is none), and which to record next.
  uint64_t unrecorded = 0;
  std::string after, record_next;
};

/// Why an operation is wrong (src/diagnose).
struct Cause {
  std::string id;         ///< "rope-base"; "unknown"
  std::string name;       ///< for people
  std::string evidence;   ///< what was fitted, and how well it reproduces
  bool benign = false;    ///< differs, and is right
  double confidence = 0;  ///< 0 to 1: its share among all that reproduce as much, and chance
  std::vector<std::string> ties = {};  ///< ids of others that reproduce as much and are as simple
  std::string operation = {};          ///< which one of a segment; empty: the one that fails
};

struct Report {
  bool alone = false;  ///< one trace against the model: b is empty, and so is what compares
  Verdict verdict = Verdict::unmeasured;
  std::string sentence;
  Side a, b;
  /// Per operation of the program: √(Σ(a − b)²/Σ b²) over the rows that both traces have; negative
  /// if they share no row.
  std::vector<double> differences;
  std::optional<First> first;
  std::optional<Cause> cause;             ///< of the first failure
  std::vector<std::string> benign;        ///< what differs and is right
  std::vector<std::string> unmeasured;    ///< operations
  std::vector<std::string> after_record;  ///< operations that follow all that was recorded
  std::vector<UnknownName> unknown;       ///< of both traces
  uint64_t compared = 0;
  LogitsComparison logits;
  Noise noise;
  std::optional<Swap> swap;        ///< where it was asked for
  std::vector<double> percentile;  ///< of each operation's difference; negative: unknown
  double logits_percentile = -1;   ///< of the mean KL
};

struct DiffOptions {
  uint64_t runs = 16;    ///< of the noise certificate; 0: none
  uint64_t tokens = 32;  ///< the prompt's beginning that it takes
  uint64_t seed = 1;
  bool other_weights = false;  ///< traces may state other model hashes: the program judges both
  Advance advance = {};
};

/// The tokens of all steps, one after the other.
std::vector<int32_t> all_tokens(const trace::Trace& trace);
/// An operation's rows over all steps, by the index of their token. Errors: as Trace::values.
using Rows = std::map<uint64_t, std::vector<double>>;
Result<Rows> rows_of(const op::Program& program, const trace::Trace& trace,
                     const op::Operation& operation);

/// The token of each row of an operation in one step, counted over all steps.
std::vector<uint64_t> tokens_of_rows(const op::Program& program, const trace::Trace& trace,
                                     uint32_t step, const op::Operation& operation);

/// Errors (exit code 2): the tokens, the positions or (unless allowed) the model hashes differ; and
/// those of judge_trace.
Result<Report> compare(const op::Program& program, const trace::Trace& a, const trace::Trace& b,
                       const DiffOptions& options = {});

/// One trace against the model: every operation judged, nothing compared. Errors: as judge_trace.
Result<Report> judge_alone(const op::Program& program, const trace::Trace& trace,
                           const Advance& advance = {});

/// Fills in the first failure, the verdict and the sentence, from both sides of the report.
void conclude(const op::Program& program, const trace::Trace& a, const trace::Trace& b,
              Report& report);

/// What is said before the sentence: where the first failure lies and how far off it is, in a unit
/// that is explained; what was not measured, and why. Empty where there is nothing to explain.
std::vector<std::string> explanations(const Report& report);

/// What "u" means, in a sentence.
std::string unit_explained();

/// The same shape if nothing could be compared: the verdict UNMEASURED and the reason.
std::string refusal_json(const std::string& sentence, const Cause& cause);

/// The fixed shape assay.diff/1. `narrow`: where it was asked for.
std::string to_json(const op::Program& program, const Report& report,
                    const std::optional<Narrow>& narrow = {});

}  // namespace assay::diff
