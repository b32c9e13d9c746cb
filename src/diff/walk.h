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
#include "diff/side.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::diff {

/// The terms of a sum that an engine adds in an order of its own.
struct Terms {
  Table size;            ///< their absolute values, added up
  double additions = 1;  ///< each rounds to its type: half an ulp of no more than `size`
};

/// Whether the trace has no tensor of an operation that computes.
bool lacks_any(const op::Program& program, const trace::Trace& trace);

class Walk {
 public:
  struct Item {
    uint32_t step;
    size_t index;
    const op::Operation& operation;
    const Inputs& inputs;
    const Table* got;          ///< nullptr where the trace doesn't have it
    const std::string* lacks;  ///< the name of a missing input; nullptr: all there
    const Terms* terms;        ///< of a sum whose order is the engine's own; else nullptr
    /// Half an ulp of the type that `got` is stored in; 0 where the arithmetic's own results are no
    /// finer.
    double rounding = 0;
    bool narrow = false;  ///< it, or an input, is stored in fewer bits than it was computed in
    /// Of what reads computed values: how far correct runs lie around it. nullptr: it reads what
    /// the trace has.
    const Table* spread = nullptr;
  };
  /// Neither what it gave nor what it was given holds NaN or an infinity. Its output must be there.
  static bool is_finite(const Item& item);
  /// Returns false to stop.
  using Visit = std::function<bool(const Item&)>;
  /// Called before an operation's output is read: it may change how the trace's tensors are read.
  using Before = std::function<void(uint32_t step, const op::Operation& operation,
                                    const Inputs& inputs, bool lacks)>;

  Walk(const op::Program& program, const trace::Trace& trace, Arithmetic arithmetic,
       Before before = {});
  /// From now on what is missing is computed, with these codings of products; and how far correct runs
  /// lie around it, if that is wanted: it takes sixteen times as long.
  void compute_missing(Lockstep::CodingOf coding_of, bool with_spread = true);

  Status run(const Visit& visit);

 private:
  Result<bool> run_step(uint32_t number, const Visit& visit);
  static std::optional<Terms> terms_of(const op::Operation& operation, const Inputs& inputs,
                                       const std::vector<std::optional<Terms>>& known, bool merged);
  Status check(const trace::TraceStep& step, uint32_t number) const;
  void forget(const op::Operation& operation, size_t index);
  double rounding_of(uint32_t number, const op::Operation& operation) const;
  Result<Table> read(uint32_t number, const op::Operation& operation,
                     const trace::TraceStep& step) const;
  Result<Table> shaped(const trace::TraceTensor& tensor, uint64_t rows, uint64_t width,
                       bool selected) const;
  Result<Table> read_stored(uint32_t number, const op::Operation& operation,
                            const trace::TraceStep& step) const;
  void store(size_t index, const Inputs& inputs, const Table& stored, const trace::TraceStep& step,
             const std::string* lacks);

  const op::Program& program_;
  const trace::Trace& trace_;
  Arithmetic arithmetic_;
  Before before_;
  Lockstep::CodingOf coding_of_;
  std::unique_ptr<Estimate> estimate_;  ///< nullptr where nothing is computed
  Caches caches_;
  std::vector<bool> cache_whole_, cache_narrow_;
  std::vector<size_t> last_use_;
};

}  // namespace assay::diff
