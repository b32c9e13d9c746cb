// Which contract an engine keeps: as its trace declares it, or found by trying, family by family of
// operations; and what each operation may be off under it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "diff/lockstep.h"
#include "diff/side.h"
#include "diff/walk.h"
#include "judge/contract.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::diff {

/// A contract that fits fewer is none: what is found is that all else is wrong.
inline bool fits_most(uint64_t fitting, uint64_t count) {
  return 10 * fitting >= 6 * count;
}

struct FoundContract {
  judge::Contract contract;
  std::string text;   ///< of the contract
  bool found = true;  ///< by trying: the trace declares none, or one that doesn't fit
  Arithmetic arithmetic;
  size_t hidden_coding = 0;  ///< as Side has it
};

/// The finest contract that most operations fit. What the trace declares is kept where most fit it,
/// and a family that doesn't fit it has another arithmetic only where that is finer, or all of it is.
/// A family's result is of the type that holds its values; where the trace keeps values in fewer
/// bits than its contract says, that type is the engine's only if most sums of two values, which
/// round once, fit it. What its inner arithmetic is, is tried
/// from the finest on: a coarser one is taken only where most operations fit it that do not fit the
/// finer one, so one operation that alone needs a coarser one stays wrong. Sums in coarse types,
/// whose worst order proves little, are tried last. Engines of our own keep one of
/// judge::contracts() alone.
FoundContract find_contract(const op::Program& program, const trace::Trace& trace);
/// The same of what the trace lacks, by how the recorded outputs of the first step fit what leads to
/// them: the declared contract where most do, else the finest that all fit. `found` where the trace has products together with what they read, and
/// the families that it has of `known`.
FoundContract settle_hidden(const op::Program& program, const trace::Trace& trace,
                            const std::optional<FoundContract>& found,
                            const std::set<judge::Family>& known);

/// One operation under a contract.
struct Looked {
  Seen seen;
  Coding coding;
  double hidden = 0;    ///< the RMS of what its elements may be off, over the RMS of the values
  double distance = 0;  ///< Σ(got − want)²/Σ want²
};

/// Remembers which of a contract's codings fitted a weight type last.
class Chooser {
 public:
  explicit Chooser(judge::Contract contract) : contract_(std::move(contract)) {}

  Looked look(const op::Program& program, const Walk::Item& item, const Arithmetic& arithmetic);
  /// Another product with a weight of this type fitted under it.
  void prefer(uint32_t weight_type, const Coding& coding);

 private:
  judge::Contract contract_;
  std::map<uint32_t, size_t> preferred_;
};

/// What else an output may be off by.
struct Allowance {
  double rounding = 0;           ///< half an ulp of the type that it is stored in
  const Terms* terms = nullptr;  ///< of a sum in an order of the engine's own
  judge::NumberType type = judge::NumberType::f32;  ///< of that sum: half an ulp an addition
  const Table* spread = nullptr;  ///< of runs as right as this one, whose inputs are computed
};
Judged widened(Judged judged, const Allowance& by);

/// Of products that a trace lacks: the n-th of the contract's codings, the first where there are fewer.
/// `program` must outlive it.
Lockstep::CodingOf hidden_codings(const op::Program& program, const std::string& contract,
                                  size_t n);

}  // namespace assay::diff
