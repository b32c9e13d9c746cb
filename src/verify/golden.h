// Goldens: files with hashes of the bits of a model's operations and logits, to compare later runs
// with. docs/verify.md describes the format, assay.golden/1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "op/executor.h"
#include "op/program.h"
#include "trace/statistics.h"

namespace assay::verify {

struct GoldenStep {
  uint32_t tokens = 0;
  /// By operation: the first 16 hex digits of SHA-256 of its output, little-endian f32, NaN as
  /// 7fc00000.
  std::vector<std::string> hashes;
};

/// One run of tokens.
struct GoldenCase {
  std::vector<int32_t> tokens;
  std::vector<GoldenStep> steps;
  std::string logits_sha256;  ///< of every position
};

struct Golden {
  std::string contract;             ///< as an executor names it
  std::string model, model_sha256;  ///< path or known name; of the file
  std::string made_by;              ///< program, commit, device: for the reader alone
  std::vector<std::string> operations;
  std::vector<GoldenCase> cases;
};

std::string to_json(const Golden& golden);
/// Errors, beginning with `path`: not JSON, another schema, a field missing or of another shape.
Result<Golden> parse_golden(std::string_view text, const std::string& path);

/// A sink that fills a case, step by step.
class GoldenRecorder {
 public:
  void begin_step(const op::Step& step);
  void operator()(const op::Operation& operation, std::span<const float> output);
  /// Adds the logits of a step.
  void logits(std::span<const float> logits) { logits_.update(logits); }
  GoldenCase finish();

 private:
  GoldenCase case_;
  trace::LogitsHash logits_;
};

std::vector<std::string> names_of(const op::Program& program);

struct Departure {
  size_t step = 0;
  std::string operation;
};
/// The first step and operation whose bits differ from the stored ones; nothing if all are equal.
std::optional<Departure> first_departure(const std::vector<std::string>& operations,
                                         const GoldenCase& stored, const GoldenCase& now);

}  // namespace assay::verify
