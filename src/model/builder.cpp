#include "model/builder.h"

#include <fmt/format.h>

#include "gguf/types.h"
#include "quant/formats.h"

namespace assay::model {

namespace {

constexpr uint32_t nvfp4 = 40;  // ggml's number; its values are for a scale to multiply

}  // namespace

Matrix slice(const Matrix& whole, std::string_view tag, uint64_t first, uint64_t rows) {
  Matrix part = whole;
  const auto view = [&](op::Weight& weight, uint64_t bytes) {
    weight.name += fmt::format("[{}]", tag);
    weight.data = weight.data.subspan(first * bytes, rows * bytes);
  };
  view(part.weight, whole.weight.row_bytes());
  part.weight.rows = rows;
  if (part.bias) {
    view(*part.bias, sizeof(float));
    part.bias->columns = rows;
  }
  return part;
}

Matrix Builder::matrix(const std::string& tensor, uint64_t rows, uint64_t columns,
                       const Beside& beside) {
  Matrix m{.weight = read.matrix(tensor + ".weight", rows, columns)};
  const std::string bias = tensor + ".bias";
  if (beside.bias == Presence::unused) read.accept_tensor(bias);
  if (beside.bias == Presence::required ||
      (beside.bias == Presence::optional && read.has_tensor(bias)))
    m.bias = read.vector(bias, rows);
  if (!tensor.starts_with("blk.")) return m;
  read.accept_tensor(tensor + ".input_scale");  // NVFP4's, for activations: not used
  if (!read.has_tensor(tensor + ".scale")) return m;
  const std::vector<float> scale = read.values(tensor + ".scale", 1);
  if (read.failed()) return m;
  if (beside.scale_counts)
    m.scale = scale[0];
  else if (m.weight.type == nvfp4 && scale[0] != 1)
    read.fail(fmt::format("{}.scale is {}, and assay's '{}' does not implement it", tensor,
                          scale[0], architecture.name));
  m.bias_last = beside.bias_last;
  return m;
}

uint32_t Builder::product(const std::string& name, uint32_t input, const Matrix& m, uint32_t layer,
                          op::Role role) {
  if (read.failed()) return input;
  const uint32_t bias = m.bias ? program.add_weight(*m.bias) : op::none;
  op::Operation operation{.name = m.scale ? name + "_unscaled" : name,
                          .of = op::Matmul{},
                          .inputs = {input},
                          .weight = program.add_weight(m.weight),
                          .bias = m.scale && m.bias_last ? op::none : bias,
                          .layer = layer,
                          .role = m.scale ? op::Role::inner : role};
  const uint32_t result = program.append(std::move(operation));
  if (!m.scale) return result;
  return program.append({.name = name,
                         .of = op::Scale{*m.scale},
                         .inputs = {result},
                         .bias = m.bias_last ? bias : op::none,
                         .layer = layer,
                         .role = role});
}

uint32_t Builder::norm(const std::string& name, uint32_t input, const std::string& tensor,
                       const NormOf& of, uint32_t layer) {
  if (read.failed()) return input;
  const uint32_t part = width_of(input) / of.parts;
  op::Operation operation{.name = name, .of = {}, .inputs = {input}, .layer = layer};
  if (of.layer_norm)
    operation.of = op::LayerNorm{.eps = of.eps, .parts = of.parts};
  else
    operation.of = op::RmsNorm{.eps = of.eps, .parts = of.parts};
  if (of.weight) {
    const bool bare_name = !read.has_tensor(tensor + ".weight") && read.has_tensor(tensor);
    const std::string weight_name = bare_name ? tensor : tensor + ".weight";
    op::Weight weight =
        of.own_weights ? read.matrix(weight_name, of.parts, part) : read.vector(weight_name, part);
    if (!read.failed() && weight.type != quant::F32::id)
      read.fail(fmt::format("tensor '{}' is of type {}, wanted F32", weight_name,
                            gguf::type_name(weight.type)));
    if (read.failed()) return input;
    weight.columns *= weight.rows;
    weight.rows = 1;
    operation.weight = program.add_weight(weight);
  } else {
    operation.weight =
        program.add_constant(fmt::format("ones({})", part), std::vector<float>(part, 1.0f));
  }
  const std::string bias = tensor + ".bias";
  if (of.bias == Presence::required || (of.bias == Presence::optional && read.has_tensor(bias))) {
    const op::Weight weight = read.vector(bias, part);
    if (read.failed()) return input;
    operation.bias = program.add_weight(weight);
  }
  return program.append(std::move(operation));
}

uint32_t Builder::model_norm(const std::string& name, uint32_t input, const std::string& tensor,
                             uint32_t layer, float eps) {
  return norm(name, input, tensor,
              {.layer_norm = n.layer_norm,
               .eps = eps > 0 ? eps : n.eps,
               .weight = architecture.norms.weights,
               .bias = architecture.norms.biases},
              layer);
}

uint32_t Builder::plain(op::Parameters of, const std::string& name, std::vector<uint32_t> inputs,
                        uint32_t layer, op::Role role) {
  if (read.failed()) return inputs[0];
  return program.append(
      {.name = name, .of = of, .inputs = std::move(inputs), .layer = layer, .role = role});
}

uint32_t Builder::scaled(const std::string& name, uint32_t input, double factor, uint32_t layer) {
  return factor == 1 ? input : plain(op::Scale{float(factor)}, name, {input}, layer);
}

}  // namespace assay::model
