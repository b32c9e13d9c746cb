// Writes what an executor computes to a trace (docs/trace-format.md).
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "op/executor.h"
#include "op/program.h"

namespace assay::trace {

struct RecorderOptions {
  std::function<bool(std::string_view name)> wanted;  ///< empty: every operation
  bool statistics = false;                            ///< a line of numbers a token, no values
};

/// A sink that keeps the outputs that it is given:
///   recorder.begin_step(step); executor.run(step, std::ref(recorder)); … recorder.write(path, …)
class Recorder {
 public:
  /// `program` must outlive the recorder.
  Recorder(const op::Program& program, RecorderOptions options)
      : program_(program), options_(std::move(options)) {}

  void begin_step(const op::Step& step);
  void operator()(const op::Operation& operation, std::span<const float> output);

  /// `metadata` is the caller's: engine, contract, kv, model, model_sha256 … Errors: as
  /// write_atomically.
  Status write(const std::string& path, std::map<std::string, std::string> metadata) const;
  uint64_t tensors() const { return kept_.size(); }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Kept {
    std::string name;
    uint64_t rows, width;
    std::vector<uint8_t> bytes;
  };
  struct Step {
    std::vector<int32_t> tokens;
    std::vector<uint32_t> positions, selected;
    uint64_t kept = 0;
  };
  void keep(const std::string& name, std::span<const float> values, uint64_t width);

  const op::Program& program_;
  RecorderOptions options_;
  std::vector<Step> steps_;
  std::vector<Kept> kept_;
  uint64_t bytes_ = 0;
};

/// Numbers of a row's statistics.
inline constexpr uint64_t statistics_width = 8;
/// min, max, mean, RMS, max|x|, NaN count, infinities, elements of one row. NaN are left out of the
/// first five; an infinity is not left out.
std::vector<double> row_statistics(std::span<const float> row);

}  // namespace assay::trace
