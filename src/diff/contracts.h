// Which contract an engine keeps: as its trace declares it, or found by trying, family by family of
// operations; and what each operation may be off under it.
#pragma once

#include <map>
#include <string>

#include "diff/side.h"
#include "diff/walk.h"
#include "judge/contract.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::diff {

struct FoundContract {
  judge::Contract contract;
  std::string text;   ///< of the contract
  bool found = true;  ///< by trying: the trace declares none, or one that doesn't fit
  Arithmetic arithmetic;
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

/// One operation under a contract.
struct Looked {
  Seen seen;
  Coding coding;
  double hidden = 0;  ///< the RMS of what its elements may be off, over the RMS of the values
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

/// Stored values are off by as much as their type rounds away, and sums in an order of their own by
/// half an ulp of `type` for each addition.
Judged widened(Judged judged, double rounding, const Terms* terms = nullptr,
               judge::NumberType type = judge::NumberType::f32);

}  // namespace assay::diff
