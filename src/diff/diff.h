// Compares two traces of one prompt: which engine is wrong and where, or that neither is.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "diff/noise.h"
#include "diff/side.h"
#include "diff/swap.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::diff {

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
  bool a = false, b = false;  ///< which side fails there
};

/// Why an operation is wrong (src/diagnose).
struct Cause {
  std::string id;        ///< "rope-base"; "unknown"
  std::string name;      ///< for people
  std::string evidence;  ///< what was fitted, and how well it reproduces
  bool benign = false;   ///< differs, and is right
};

struct Report {
  Verdict verdict = Verdict::unmeasured;
  std::string sentence;
  Side a, b;
  /// Per operation of the program: √(Σ(a − b)²/Σ b²) over the rows that both traces have; negative
  /// if they share no row.
  std::vector<double> differences;
  std::optional<First> first;
  std::optional<Cause> cause;           ///< of the first failure
  std::vector<std::string> benign;      ///< what differs and is right
  std::vector<std::string> unmeasured;  ///< operations
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
};

/// The tokens of all steps, one after the other.
std::vector<int32_t> all_tokens(const trace::Trace& trace);
/// An operation's rows over all steps, by the index of their token. Errors: as Trace::values.
using Rows = std::map<uint64_t, std::vector<double>>;
Result<Rows> rows_of(const op::Program& program, const trace::Trace& trace,
                     const op::Operation& operation);

/// Errors (exit code 2): the tokens, the positions or (unless allowed) the model hashes differ; and
/// those of judge_trace.
Result<Report> compare(const op::Program& program, const trace::Trace& a, const trace::Trace& b,
                       const DiffOptions& options = {});

/// Fills in the first failure, the verdict and the sentence, from both sides of the report.
void conclude(const op::Program& program, const trace::Trace& a, const trace::Trace& b,
              Report& report);

/// The same shape if nothing could be compared: the verdict UNMEASURED and the reason.
std::string refusal_json(const std::string& sentence, const Cause& cause);

/// The fixed shape assay.diff/1.
std::string to_json(const op::Program& program, const Report& report);

}  // namespace assay::diff
