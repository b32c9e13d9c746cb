#include "verify/stored.h"

#include <fmt/format.h>

#include <algorithm>
#include "op/kinds.h"

namespace assay::verify {

std::string to_source(const Stored& stored) {
  std::string text = fmt::format(
      "// Made by `assay verify --synthetic --device {} --store src/verify/stored_bits.cpp`.\n"
      "// clang-format off\n"
      "#include \"verify/stored.h\"\n\n"
      "namespace assay::verify {{\n\n"
      "const Stored& stored_bits() {{\n"
      "  static const Stored stored = {{\n"
      "      \"{}\",\n"
      "      \"{}\",\n"
      "      Level::{},\n"
      "      {{\n",
      stored.made_by, stored.made_by, stored.contract, name_of(stored.level));
  for (const StoredRow& row : stored.rows)
    text +=
        fmt::format("          {{\"{}\", \"{}\", \"{}\"}},\n", row.kind, row.format, row.sha256);
  return text + "      }};\n  return stored;\n}\n\n}  // namespace assay::verify\n";
}

const StoredRow* find(const Stored& stored, const std::string& contract, Level level,
                      std::string_view kind, std::string_view format) {
  if (stored.contract != contract || stored.level != level) return nullptr;
  for (const StoredRow& row : stored.rows)
    if (row.kind == kind && row.format == format) return &row;
  return nullptr;
}

void RowHashes::step(const op::Program& program, const StepOutputs& outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const op::Operation& operation = program.operations[i];
    const std::string_view kind = op::name_of(operation);
    const std::string_view format = format_of(program, operation);
    auto row = std::find_if(rows_.begin(), rows_.end(),
                            [&](const Row& r) { return r.kind == kind && r.format == format; });
    if (row == rows_.end()) row = rows_.insert(row, Row{kind, format, {}});
    row->hash.update(outputs[i]);
  }
}

std::vector<StoredRow> RowHashes::rows() const {
  std::vector<StoredRow> rows;
  for (const Row& row : rows_)
    rows.push_back({std::string(row.kind), std::string(row.format), row.hash.so_far()});
  return rows;
}

}  // namespace assay::verify
