#include "check/alone.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

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
    const float scale =
        parts.scale != 0 ? parts.scale : float(1 / std::sqrt(double(parts.head_dim)));
    operation.of = op::Attend{0, parts.heads, scale};
  }
  for (size_t i = 0; i < row.inputs; ++i)
    operation.inputs.push_back(program.add_value(fmt::format("input{}", i), parts.width));
  if (parts.weight.columns) operation.weight = program.add_weight(parts.weight);
  if (parts.bias.columns) operation.bias = program.add_weight(parts.bias);
  if (row.weight == op::WeightShape::table) program.vocabulary = uint32_t(parts.weight.rows);
  if (const std::string why = op::problem_of(program, operation); !why.empty()) return refuse(why);
  program.append(std::move(operation));
  return program;
}

op::Weight first_rows(const op::Weight& weight, uint64_t rows) {
  op::Weight out = weight;
  out.rows = std::min(rows, weight.rows);
  out.data = weight.data.first(out.rows * weight.row_bytes());
  return out;
}

op::Program cut_out(const op::Program& program, size_t index, const op::Weight& weight) {
  op::Program out;
  out.layers = 1;
  op::Operation operation = program.operations[index];
  operation.of = out.adopt(program, operation.of);
  if (out.caches.empty()) out.caches = {{1, program.head_dim_of(operation), 1}};
  operation.layer = 0;
  for (uint32_t& input : operation.inputs) {
    const op::Value& value = program.values[input];
    input = out.add_value(value.name, value.width);
  }
  operation.output = op::none;
  const op::Weight* bias = program.bias_of(operation);
  operation.bias = op::none;
  if (operation.weight != op::none) operation.weight = out.add_weight(weight);
  if (op::row_of(operation).weight == op::WeightShape::table)
    out.vocabulary = uint32_t(weight.rows);
  if (bias) {
    op::Weight part = *bias;
    part.columns = op::output_width(out, operation);
    part.data = bias->data.first(part.columns * sizeof(float));
    operation.bias = out.add_weight(part);
  }
  out.append(std::move(operation));
  return out;
}

}  // namespace assay::check
