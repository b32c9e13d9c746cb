#include "op/program.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace assay::op {

std::string_view name_of(Kind kind) {
  static constexpr std::array<std::string_view, 10> names = {
      "embed",     "rms_norm", "matmul", "rope",  "kv_store",
      "attention", "swiglu",   "add",    "scale", "select_rows"};
  return names[size_t(kind)];
}

uint32_t Program::add_value(std::string name, uint32_t value_width, bool selected) {
  values.push_back({std::move(name), value_width, selected, none});
  return uint32_t(values.size() - 1);
}

uint32_t Program::add_weight(Weight weight) {
  for (uint32_t i = 0; i < weights.size(); ++i)
    if (weights[i].name == weight.name) return i;  // a tied weight is one weight
  weights.push_back(std::move(weight));
  return uint32_t(weights.size() - 1);
}

namespace {

/// True where inputs, weight and output have the shapes that the kind asks for.
bool shapes_fit(const Program& program, const Operation& operation) {
  const auto width = [&](size_t i) { return program.values[operation.inputs[i]].width; };
  const uint32_t out = operation.output == none ? 0 : program.values[operation.output].width;
  const Weight* weight = operation.weight == none ? nullptr : &program.weights[operation.weight];
  const Attention& attention = program.attention;
  switch (operation.kind) {
    case Kind::embed:
      return operation.inputs.empty() && weight && weight->columns == out;
    case Kind::rms_norm:
      return operation.inputs.size() == 1 && weight && weight->rows == 1 &&
             weight->columns == out && width(0) == out && operation.eps > 0;
    case Kind::matmul:
      return operation.inputs.size() == 1 && weight && weight->columns == width(0) &&
             weight->rows == out &&
             (operation.bias == none || program.weights[operation.bias].columns == out);
    case Kind::rope:
      return operation.inputs.size() == 1 && width(0) == out && operation.heads > 0 &&
             out == operation.heads * attention.key_dim &&
             program.rope.dimensions <= attention.key_dim;
    case Kind::kv_store:
      return operation.inputs.size() == 2 && operation.layer < program.layers &&
             width(0) == attention.kv_heads * attention.key_dim &&
             width(1) == attention.kv_heads * attention.value_dim;
    case Kind::attention:
      return operation.inputs.size() == 1 && operation.layer < program.layers &&
             width(0) == attention.heads * attention.key_dim &&
             out == attention.heads * attention.value_dim &&
             attention.heads % attention.kv_heads == 0;
    case Kind::swiglu:
    case Kind::add:
      return operation.inputs.size() == 2 && width(0) == out && width(1) == out;
    case Kind::scale:
      return operation.inputs.size() == 1 && width(0) == out &&
             (operation.bias == none || program.weights[operation.bias].columns == out);
    case Kind::select_rows:
      return operation.inputs.size() == 1 && width(0) == out;
  }
  return false;
}

}  // namespace

uint32_t Program::add_operation(Operation operation) {
  if (!shapes_fit(*this, operation))
    throw std::logic_error("operation '" + operation.name +
                           "' does not fit its inputs, weight or output");
  operations.push_back(std::move(operation));
  return operations.back().output;
}

void Program::assign_buffers() {
  std::vector<size_t> last_use(values.size(), 0);
  for (size_t i = 0; i < operations.size(); ++i) {
    for (uint32_t input : operations[i].inputs) last_use[input] = i;
    if (operations[i].output != none) last_use[operations[i].output] = i;
  }
  std::vector<size_t> free_after;  // for each buffer, the operation that reads it last
  for (size_t i = 0; i < operations.size(); ++i) {
    if (operations[i].output == none) continue;
    Value& value = values[operations[i].output];
    uint32_t chosen = none;  // the free buffer whose width fits best
    for (uint32_t b = 0; b < free_after.size(); ++b) {
      if (free_after[b] >= i) continue;
      if (chosen == none || buffer_width[b] == value.width) chosen = b;
    }
    if (chosen == none) {
      chosen = uint32_t(free_after.size());
      free_after.push_back(0);
      buffer_width.push_back(0);
    }
    value.buffer = chosen;
    buffer_width[chosen] = std::max(buffer_width[chosen], value.width);
    free_after[chosen] = last_use[operations[i].output];
  }
  buffers = uint32_t(free_after.size());
}

}  // namespace assay::op
