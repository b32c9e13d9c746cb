// A debugging log (trace/text_log.h) against what correct runs of the model give: the first layer
// whose printed numbers no correct run has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "diff/ensemble.h"
#include "diff/side.h"
#include "trace/text_log.h"

namespace assay::diff {

/// What a log doesn't say of its own numbers. That reading is taken by which most of them lie inside;
/// another than the first needs three more.
struct LogReading {
  enum class Tokens { all, last, each, one };  ///< each: a run of the model for each token
  /// Of layer N: its output; that of N − 1; its input; its input, and the normed output at the end.
  enum class Layers { outputs, from_one, inputs, hidden_states };
  Tokens tokens = Tokens::all;
  Layers layers = Layers::outputs;
  bool largest_value = false;  ///< `max` is the largest value, not the largest magnitude
  int bits =
      24;  ///< of the engine's results: 8 (bf16) or 11 (f16) where its largest values show it
};
std::string_view name_of(LogReading::Tokens tokens);
std::string_view name_of(LogReading::Layers layers);
/// "f32", "bf16", "f16"
std::string_view type_of(const LogReading& reading);

/// A printed number beside the range of correct runs, which it misses by more than its digits hide
/// where it is not `inside`.
struct JudgedLogValue {
  uint64_t line = 0;
  size_t operation = 0;
  std::optional<uint64_t> token;  ///< of a line's one token
  std::string statistic;          ///< "RMS", "max|x|", …, "logit of token 3499"
  trace::Printed printed;
  Range range;
  /// The operation whose printed number narrowed the range: what grows from there in the same run.
  std::optional<size_t> from;
  bool inside = false;
};
/// A token that correct runs rate higher than the last of the list, and that is not in it.
struct MissingToken {
  uint64_t line = 0;  ///< of the list's end
  int32_t id = 0;
  Range range;
};

struct LogReport {
  Verdict verdict = Verdict::unmeasured;
  std::string sentence;
  std::vector<std::string> notes;  ///< how the log was read, and where it is outside
  LogReading reading;
  std::vector<JudgedLogValue> values;  ///< in the program's order
  std::vector<MissingToken> missing;
  std::optional<JudgedLogValue> first;  ///< outside
  uint64_t runs = 0, tokens = 0;
  uint64_t later = 0;  ///< lines and lists of later runs of the model, which are not compared
};

struct LogOptions {
  uint64_t runs = 16, seed = 1;
  std::optional<uint64_t> token;  ///< the lines are of this one, an index into tokens
};
LogReport judge_log(const op::Program& program, const trace::TextLog& log,
                    std::span<const int32_t> tokens, const LogOptions& options);

}  // namespace assay::diff
