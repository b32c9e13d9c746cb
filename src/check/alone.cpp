#include "check/alone.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "diff/experts.h"
#include "op/kinds.h"

namespace assay::check {

namespace {

constexpr uint64_t most_width = 1 << 24;

}  // namespace

Result<op::Program> program_of(const Parts& parts) {
  const std::string name(op::name_of(parts.of));
  const auto refuse = [&](const std::string& why) {
    return Error{fmt::format("{}: {}", name, why)};
  };
  op::Program program;
  program.layers = 1;
  op::Operation operation{.name = name, .of = parts.of, .layer = 0};
  const op::KindRow& row = op::row_of(operation);
  if (row.moves) return refuse("it only moves values: there is nothing to judge");
  program.caches = {{parts.kv_heads, parts.head_dim, parts.value_dim}};
  if (operation.is<op::Rope>()) {
    program.rope_tables = {parts.rope};
    operation.of = op::Rope{0, parts.heads};
    if (parts.heads == 0 || parts.width != uint64_t(parts.heads) * parts.head_dim)
      return refuse(fmt::format("{} values per row are not {} heads of {}", parts.width,
                                parts.heads, parts.head_dim));
  }
  if (operation.is<op::Attend>()) {
    if (uint64_t(parts.heads) * std::max(parts.head_dim, parts.value_dim) > most_width)
      return refuse(fmt::format("{} heads of {} are more than {} values", parts.heads,
                                parts.head_dim, most_width));
    auto* attend = operation.as<op::Attend>();
    attend->cache = 0;
    attend->heads = parts.heads;
    attend->scale = parts.scale != 0 ? parts.scale : float(1 / std::sqrt(double(parts.head_dim)));
  }
  if (operation.is<op::PositionScale>()) {
    program.rope_tables = {parts.rope};
    operation.of = op::PositionScale{0};
  }
  for (size_t i = 0; i < row.inputs; ++i)
    operation.inputs.push_back(program.add_value(
        fmt::format("input{}", i), i == 1 && parts.second ? parts.second : parts.width));
  if (parts.weight.columns) operation.weight = program.add_weight(parts.weight);
  if (parts.bias.columns) operation.bias = program.add_weight(parts.bias);
  if (row.weight == op::WeightShape::table) program.vocabulary = uint32_t(parts.weight.rows);
  if (const std::string why = op::problem_of(program, operation); !why.empty()) return refuse(why);
  program.append(std::move(operation));
  return program;
}

namespace {

/// The first rows of `whole`.
op::Weight beginning(const op::Weight& whole, uint64_t rows) {
  op::Weight out = whole;
  out.rows = std::min(rows, whole.rows);
  out.data = whole.data.first(out.rows * whole.row_bytes());
  return out;
}

/// The first columns of a row of F32.
op::Weight first_columns(const op::Weight& whole, uint64_t columns) {
  op::Weight out = whole;
  out.columns = std::min(columns, whole.columns);
  out.data = whole.data.first(out.columns * sizeof(float));
  return out;
}

/// Those rows of `whole`, whose bytes `taken` then holds.
op::Weight gathered(const op::Weight& whole, const std::vector<uint64_t>& rows, Taken& taken) {
  std::vector<uint8_t>& bytes = taken.bytes.emplace_back();
  for (const uint64_t row : rows)
    bytes.insert(bytes.end(), whole.row(row).begin(), whole.row(row).end());
  op::Weight out = whole;
  out.rows = rows.size();
  out.data = bytes;
  return out;
}

}  // namespace

Taken first_rows(const op::Program& program, const op::Operation& operation, uint64_t rows) {
  Taken taken;
  if (operation.weight != op::none) taken.weight = program.weights[operation.weight];
  if (const op::Weight* bias = program.bias_of(operation)) taken.bias = *bias;
  if (!operation.is<op::Matmul>()) return taken;
  taken.weight = beginning(taken.weight, rows);
  if (taken.bias.columns) taken.bias = first_columns(taken.bias, taken.weight.rows);
  return taken;
}

Taken table_rows(const op::Program& program, const op::Operation& operation,
                 std::vector<uint64_t> ids) {
  Taken taken;
  taken.weight = gathered(program.weights[operation.weight], ids, taken);
  taken.ids = std::move(ids);
  return taken;
}

Taken experts_rows(const op::Program& program, const op::Operation& operation,
                   std::vector<uint64_t> experts, uint64_t rows) {
  const op::Weight& whole = program.weights[operation.weight];
  const uint64_t of_expert = whole.rows / operation.as<op::MatmulExperts>()->experts;
  std::vector<uint64_t> kept(std::min(rows, of_expert));
  std::iota(kept.begin(), kept.end(), uint64_t(0));
  Taken taken;
  taken.weight = gathered(whole, diff::rows_of_experts(experts, of_expert, kept), taken);
  if (const op::Weight* bias = program.bias_of(operation)) {
    std::vector<uint8_t> bytes;
    for (const uint64_t expert : experts) {
      const auto part = bias->row(expert).first(kept.size() * sizeof(float));
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    taken.bytes.push_back(std::move(bytes));
    taken.bias = {bias->name, bias->type, experts.size(), kept.size(), taken.bytes.back()};
  }
  taken.ids = std::move(experts);
  return taken;
}

op::Program cut_out(const op::Program& program, size_t index, const Taken& taken) {
  op::Program out;
  out.layers = 1;
  op::Operation operation = program.operations[index];
  operation.of = out.adopt(program, operation.of);
  if (auto* experts = operation.as<op::MatmulExperts>())
    experts->experts = taken.ids.empty() ? experts->experts : uint32_t(taken.ids.size());
  if (out.caches.empty()) out.caches = {{1, program.head_dim_of(operation), 1}};
  operation.layer = 0;
  for (uint32_t& input : operation.inputs) {
    const op::Value& value = program.values[input];
    input = out.add_value(value.name, value.width);
  }
  operation.output = op::none;
  operation.weight = taken.weight.columns ? out.add_weight(taken.weight) : op::none;
  operation.bias = taken.bias.columns ? out.add_weight(taken.bias) : op::none;
  if (op::row_of(operation).weight == op::WeightShape::table)
    out.vocabulary = uint32_t(taken.weight.rows);
  out.append(std::move(operation));
  return out;
}

}  // namespace assay::check
