// Hashes that one device made once and that are compiled into the program, so that a certificate
// made on another machine by another compiler is compared with them. See docs/verify.md.
#pragma once

#include <string>
#include <vector>

#include "trace/statistics.h"
#include "verify/case.h"
#include "verify/synthetic.h"

namespace assay::verify {

/// The bits of one kind of operation in one format.
struct StoredRow {
  std::string kind, format;
  std::string sha256;  ///< of the judged runs' outputs, little-endian f32, NaN as 7fc00000
};

struct Stored {
  std::string made_by, contract;  ///< the device's name; as an executor names it
  Level level{};
  std::vector<StoredRow> rows;
};

/// src/verify/stored_bits.cpp, which is to_source of what the emulator gave.
const Stored& stored_bits();
/// A C++ file that defines stored_bits.
std::string to_source(const Stored& stored);
/// None where the table has none, or is of another level or contract.
const StoredRow* find(const Stored& stored, const std::string& contract, Level level,
                      std::string_view kind, std::string_view format);

/// Hashes the outputs of the synthetic cases by row: case after case, step after step, in the
/// program's order.
class RowHashes {
 public:
  void step(const op::Program& program, const StepOutputs& outputs);
  /// In the order of first sight.
  std::vector<StoredRow> rows() const;

 private:
  struct Row {
    std::string_view kind, format;
    trace::LogitsHash hash;
  };
  std::vector<Row> rows_;
};

}  // namespace assay::verify
