// Walks a trace: what every operation reads, step after step. What the trace lacks is computed, and
// how far a correct engine may be from it (estimate.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "diff/estimate.h"
#include "judge/judge.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::diff {

/// The terms of a sum that an engine adds in an order of its own.
struct Terms {
  judge::Table size;     ///< their absolute values, added up
  double additions = 1;  ///< each rounds to f32: half an ulp of no more than `size`
};

class Walk {
 public:
  struct Item {
    uint32_t step;
    size_t index;
    const op::Operation& operation;
    const judge::Inputs& inputs;
    const judge::Table* got;       ///< nullptr where the trace doesn't have it
    const std::string* lacks;      ///< the name of a missing input; nullptr: all there
    const Terms* terms = nullptr;  ///< of a sum whose order is the engine's own
    double rounding = 0;  ///< half an ulp of the type that `got` is stored in; 0: f32 or better
    bool narrow = false;  ///< it, or an input, is stored in fewer bits than f32 has
    /// Of what reads computed values: how far correct runs lie around it. nullptr: it reads what
    /// the trace has.
    const judge::Table* spread = nullptr;

    /// The limits that hold here for what the judge expects of the inputs.
    judge::Judged within(judge::Judged judged) const;
  };
  /// Returns false to stop.
  using Visit = std::function<bool(const Item&)>;
  /// May change how the trace's tensors are read, each before it is.
  using BeforeReading =
      std::function<void(uint32_t step, const op::Operation&, const judge::Inputs&, bool lacks)>;

  Walk(const op::Program& program, const trace::Trace& trace, const judge::Arithmetic& arithmetic);
  void before_reading(BeforeReading before) { before_ = std::move(before); }
  /// From now on what is missing is computed, with these codings of products.
  void compute_missing(Lockstep::CodingOf coding_of);

  /// Errors: a tensor whose shape differs from the program's, a token beyond the vocabulary, a type
  /// without numbers.
  Status run(const Visit& visit);

 private:
  Result<bool> run_step(uint32_t number, const Visit& visit);
  static std::optional<Terms> terms_of(const op::Operation& operation, const judge::Inputs& inputs,
                                       const std::vector<std::optional<Terms>>& known, bool merged);
  Status check(const trace::TraceStep& step, uint32_t number) const;
  bool lacks_any(uint32_t number) const;
  double rounding_of(uint32_t number, const op::Operation& operation) const;
  Result<judge::Table> read(uint32_t number, const op::Operation& operation,
                            const trace::TraceStep& step) const;
  Result<judge::Table> shaped(const trace::TraceTensor& tensor, uint64_t rows, uint64_t width,
                              bool selected) const;
  Result<judge::Table> read_stored(uint32_t number, const op::Operation& operation,
                                   const trace::TraceStep& step) const;
  void store(size_t index, const judge::Inputs& inputs, const judge::Table& stored,
             const trace::TraceStep& step, const std::string* lacks);

  const op::Program& program_;
  const trace::Trace& trace_;
  const judge::Arithmetic arithmetic_;
  BeforeReading before_;
  Lockstep::CodingOf coding_of_;
  std::unique_ptr<Estimate> estimate_;  // nullptr where nothing is computed
  judge::Caches caches_;
  std::vector<bool> cache_whole_, cache_narrow_;
  const std::vector<size_t> last_use_;
};

}  // namespace assay::diff
