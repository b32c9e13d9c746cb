// Local replay: the judge computes each operation again from the inputs that the executor gave it,
// and every element must be inside its derived bound (formulas.h). Errors do not accumulate from
// one operation to the next, so a fault shows in the operation that has it and in no other.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "judge/judge.h"
#include "op/executor.h"
#include "op/program.h"

namespace assay::judge {

/// What was seen of one operation over all steps. The worst element is the one with the greatest
/// error/limit.
struct OperationError {
  std::string name;
  std::string_view kind;  ///< as op::name_of() has it
  uint64_t elements = 0, failures = 0;
  uint64_t undefined = 0;    ///< as in Seen
  double max_u = 0;          ///< the worst element's error in u of its scale; infinite for NaN
  double limit_u = 0;        ///< the limit at that element
  uint64_t worst_step = 0;   ///< steps count from 0
  uint64_t worst_token = 0;  ///< row of the output
  uint64_t worst_row = 0;    ///< element of that row
};

/// A sink for another executor's steps:
///   replay.begin_step(step); executor.run(step, std::ref(replay));
class Replay {
 public:
  /// `program` must outlive the replay. The options say which contract the executor runs: cache,
  /// contract, sequences. `wanted`: which operations are judged; empty: all. The rest are only
  /// followed, so that several replays of the same outputs can share the work.
  Replay(const op::Program& program, const op::ExecutorOptions& options,
         std::function<bool(const op::Operation&)> wanted = {});

  void begin_step(const op::Step& step);
  void operator()(const op::Operation& operation, std::span<const float> output);

  const std::vector<OperationError>& results() const {
    return errors_;
  }                           ///< in the program's order
  uint64_t failures() const;  ///< elements outside their bound

 private:
  void judge(const op::Operation& operation, const Table& got, OperationError& error);
  void store(const op::Operation& operation, const Table& got);

  const op::Program& program_;
  Arithmetic arithmetic_;
  std::string contract_;
  std::function<bool(const op::Operation&)> wanted_;
  std::vector<Table> values_;  // by index of value; empty outside its life
  std::vector<size_t> last_use_;
  std::vector<Caches> caches_;  // by sequence, as the executor stored them
  std::vector<int32_t> tokens_;
  std::vector<uint32_t> positions_, sequences_, selected_;
  std::vector<OperationError> errors_;
  uint64_t steps_ = 0;
};

/// The worst operation of each kind, for a table: its name and errors, with the elements of all
/// operations of the kind counted.
std::vector<OperationError> worst_by_kind(std::span<const OperationError> errors);

}  // namespace assay::judge
