#include "check/alone.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace assay::check {

namespace {

constexpr uint64_t most_width = 1 << 24;

/// What is wrong with the parts; empty: nothing. `add_operation` asserts the same.
std::string problem_of(const Parts& parts) {
  const op::Weight& weight = parts.weight;
  const auto wants_columns = [&](uint64_t columns) -> std::string {
    if (weight.columns == columns) return {};
    return fmt::format("the weight has rows of {}, the input of {}", weight.columns, columns);
  };
  switch (parts.kind) {
    case op::Kind::embed:
    case op::Kind::matmul:
      if (parts.bias.columns && parts.bias.columns != weight.rows)
        return fmt::format("the bias has {} values, the weight {} rows", parts.bias.columns,
                           weight.rows);
      return parts.kind == op::Kind::embed ? "" : wants_columns(parts.width);
    case op::Kind::rms_norm:
      if (!(parts.eps > 0)) return "eps must be above 0";
      return weight.rows == 1 ? wants_columns(parts.width) : "the norm's weight must be one row";
    case op::Kind::rope:
      if (parts.heads == 0 || parts.width != uint64_t(parts.heads) * parts.head_dim)
        return fmt::format("{} values a row are not {} heads of {}", parts.width, parts.heads,
                           parts.head_dim);
      if (parts.rope.dimensions > parts.head_dim)
        return fmt::format("{} lanes turn, a head has {}", parts.rope.dimensions, parts.head_dim);
      return {};
    case op::Kind::attention:
      if (parts.kv_heads == 0 || parts.heads % parts.kv_heads != 0)
        return fmt::format("{} heads are not a multiple of {} KV heads", parts.heads,
                           parts.kv_heads);
      if (uint64_t(parts.heads) * std::max(parts.head_dim, parts.value_dim) > most_width)
        return fmt::format("{} heads of {} are more than {} values", parts.heads, parts.head_dim,
                           most_width);
      return {};
    case op::Kind::scale:
      if (parts.bias.columns && parts.bias.columns != parts.width)
        return fmt::format("the bias has {} values, the input {}", parts.bias.columns, parts.width);
      return {};
    case op::Kind::swiglu:
    case op::Kind::add:
      return {};
    case op::Kind::kv_store:
    case op::Kind::select_rows:
      break;
  }
  return "it only moves values: there is nothing to judge";
}

uint32_t output_width(const Parts& parts) {
  if (parts.kind == op::Kind::matmul) return uint32_t(parts.weight.rows);
  if (parts.kind == op::Kind::embed) return uint32_t(parts.weight.columns);
  if (parts.kind == op::Kind::attention) return parts.heads * parts.value_dim;
  return parts.width;
}

}  // namespace

Result<op::Program> program_of(const Parts& parts) {
  const std::string name(op::name_of(parts.kind));
  if (const std::string why = problem_of(parts); !why.empty())
    return Error{fmt::format("{}: {}", name, why)};
  op::Program program;
  program.layers = 1;
  program.rope = parts.rope;
  const float scale = parts.scale != 0 ? parts.scale : float(1 / std::sqrt(double(parts.head_dim)));
  program.attention = {parts.heads, parts.kv_heads, parts.head_dim, parts.value_dim, scale};
  op::Operation operation;
  operation.kind = parts.kind;
  operation.name = name;
  operation.layer = 0;
  operation.eps = parts.eps;
  operation.heads = parts.heads;
  operation.factor = parts.factor;
  const bool two = parts.kind == op::Kind::swiglu || parts.kind == op::Kind::add;
  const size_t inputs = parts.kind == op::Kind::embed ? 0 : two ? 2 : 1;
  for (size_t i = 0; i < inputs; ++i)
    operation.inputs.push_back(program.add_value(fmt::format("input{}", i), parts.width));
  if (parts.weight.columns) operation.weight = program.add_weight(parts.weight);
  if (parts.bias.columns) operation.bias = program.add_weight(parts.bias);
  if (parts.kind == op::Kind::embed) program.vocabulary = uint32_t(parts.weight.rows);
  operation.output = program.add_value(name, output_width(parts));
  program.add_operation(std::move(operation));
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
  out.rope = program.rope;
  out.attention = program.attention;
  op::Operation operation = program.operations[index];
  operation.layer = 0;
  for (uint32_t& input : operation.inputs) {
    const op::Value& value = program.values[input];
    input = out.add_value(value.name, value.width);
  }
  uint32_t width = program.values[operation.output].width;
  if (operation.kind == op::Kind::matmul) width = uint32_t(weight.rows);
  if (operation.kind == op::Kind::embed) out.vocabulary = uint32_t(weight.rows);
  if (operation.weight != op::none) operation.weight = out.add_weight(weight);
  if (const op::Weight* bias = program.bias_of(operation)) {
    op::Weight part = *bias;
    part.columns = width;
    part.data = bias->data.first(width * sizeof(float));
    operation.bias = out.add_weight(part);
  }
  operation.output = out.add_value(operation.name, width);
  out.add_operation(std::move(operation));
  return out;
}

}  // namespace assay::check
