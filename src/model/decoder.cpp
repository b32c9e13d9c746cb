#include "model/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "gguf/reader.h"
#include "model/numbers.h"
#include "model/reader.h"

namespace assay::model {

namespace {

/// A matrix with what a file may hold beside it.
struct Matrix {
  op::Weight weight;
  std::optional<op::Weight> bias;
  std::optional<float> scale;
  bool bias_last = false;  ///< (W·x)·s + b; else (W·x + b)·s
};

/// Rows `first` to `first + rows` of a matrix, as one of its own: "blk.0.attn_qkv.weight[q]".
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

/// Appends operations to a program, weights by name.
struct Builder {
  op::Program& program;
  Reader& read;
  const Architecture& architecture;
  const Numbers& n;

  /// NAME.weight, its bias where one may stand, and of a block's tensors NAME.scale.
  Matrix matrix(const std::string& tensor, uint64_t rows, uint64_t columns, bool may_have_bias) {
    Matrix m{.weight = read.matrix(tensor + ".weight", rows, columns), .bias = {}, .scale = {}};
    if (may_have_bias && read.has_tensor(tensor + ".bias"))
      m.bias = read.vector(tensor + ".bias", rows);
    if (!tensor.starts_with("blk.")) return m;
    if (read.has_tensor(tensor + ".input_scale"))
      read.vector(tensor + ".input_scale", 1);  // NVFP4's: not used
    if (!read.has_tensor(tensor + ".scale")) return m;
    const std::vector<float> scale = read.values(tensor + ".scale", 1);
    const bool inner = tensor.find(".ffn_") != std::string::npos;
    if (!read.failed() && (!inner || architecture.ffn_scales)) m.scale = scale[0];
    m.bias_last = !inner;
    return m;
  }

  /// W·x, with the bias and the scale. Where there is a scale these are two operations, the first
  /// with "_unscaled" after its name.
  uint32_t product(const std::string& output, uint32_t input, const Matrix& m, uint32_t layer,
                   op::Role role = op::Role::inner) {
    if (read.failed()) return input;
    const uint32_t bias = m.bias ? program.add_weight(*m.bias) : op::none;
    op::Operation operation{.name = m.scale ? output + "_unscaled" : output,
                            .of = op::Matmul{},
                            .inputs = {input},
                            .weight = program.add_weight(m.weight),
                            .bias = m.scale && m.bias_last ? op::none : bias,
                            .layer = layer,
                            .role = role};
    const uint32_t result = program.append(std::move(operation));
    if (!m.scale) return result;
    return program.append({.name = output,
                           .of = op::Scale{*m.scale},
                           .inputs = {result},
                           .bias = m.bias_last ? bias : op::none,
                           .layer = layer,
                           .role = role});
  }

  /// An RMS norm of each of `parts` equal parts of a row.
  uint32_t norm(const std::string& output, uint32_t input, const std::string& tensor,
                uint32_t parts, uint32_t layer) {
    if (read.failed()) return input;
    const op::Weight weight = read.vector(tensor, program.values[input].width / parts);
    if (read.failed()) return input;
    return program.append({.name = output,
                           .of = op::RmsNorm{.eps = n.eps, .parts = parts},
                           .inputs = {input},
                           .weight = program.add_weight(weight),
                           .layer = layer});
  }

  uint32_t plain(op::Parameters of, const std::string& output, std::vector<uint32_t> inputs,
                 uint32_t layer, op::Role role = op::Role::inner) {
    if (read.failed()) return inputs[0];
    return program.append(
        {.name = output, .of = of, .inputs = std::move(inputs), .layer = layer, .role = role});
  }

  /// The matrices of q, k and v: three tensors, or the rows of attn_qkv in this order. Where
  /// attn_qkv has no bias of its own, those of attn_q, attn_k and attn_v count if all are there.
  std::vector<Matrix> attention_inputs(const std::string& blk) {
    constexpr std::string_view tags[] = {"q", "k", "v"};
    const uint64_t rows[] = {n.heads * n.key_dim, n.kv_heads * n.key_dim, n.kv_heads * n.value_dim};
    const std::string fused = blk + "attn_qkv";
    const auto name = [&](size_t i) { return blk + "attn_" + std::string(tags[i]); };
    std::vector<Matrix> matrices;
    if (!read.has_tensor(fused + ".weight")) {
      for (size_t i = 0; i < 3; ++i) matrices.push_back(matrix(name(i), rows[i], n.width, true));
      return matrices;
    }
    const Matrix whole = matrix(fused, rows[0] + rows[1] + rows[2], n.width, true);
    std::vector<std::optional<op::Weight>> biases(3);
    for (size_t i = 0; i < 3 && !whole.bias; ++i)
      if (read.has_tensor(name(i) + ".bias")) biases[i] = read.vector(name(i) + ".bias", rows[i]);
    const bool all = std::ranges::all_of(biases, [](const auto& bias) { return bool(bias); });
    if (read.failed()) return std::vector<Matrix>(3);
    for (uint64_t i = 0, first = 0; i < 3; first += rows[i++]) {
      matrices.push_back(slice(whole, tags[i], first, rows[i]));
      if (all) matrices.back().bias = biases[i];
    }
    return matrices;
  }

  /// Attention of the normed residual stream, up to the product that leads back to it.
  uint32_t attention(uint32_t normed, const std::string& blk, uint32_t layer) {
    const std::vector<Matrix> inputs = attention_inputs(blk);
    uint32_t q = product(blk + "q", normed, inputs[0], layer);
    uint32_t k = product(blk + "k", normed, inputs[1], layer);
    const uint32_t v = product(blk + "v", normed, inputs[2], layer);
    if (architecture.head_norms) {
      q = norm(blk + "q_norm", q, blk + "attn_q_norm.weight", n.heads, layer);
      k = norm(blk + "k_norm", k, blk + "attn_k_norm.weight", n.kv_heads, layer);
    }
    q = plain(op::Rope{.table = 0, .heads = n.heads}, blk + "q_rope", {q}, layer);
    k = plain(op::Rope{.table = 0, .heads = n.kv_heads}, blk + "k_rope", {k}, layer);
    plain(op::KvStore{.cache = layer}, blk + "kv", {k, v}, layer);
    const float scale = float(1.0 / std::sqrt(double(n.key_dim)));
    const uint32_t kqv = plain(op::Attend{.cache = layer, .heads = n.heads, .scale = scale},
                               blk + "kqv", {q}, layer);
    return product(
        blk + "attn_out", kqv,
        matrix(blk + "attn_output", n.width, n.heads * n.value_dim, architecture.inner_biases),
        layer);
  }

  uint32_t feed_forward(uint32_t normed, const std::string& blk, uint32_t layer) {
    const uint64_t rows = n.ffn_width;
    const bool biases = architecture.inner_biases;
    Matrix gate, up;
    if (architecture.fused_ffn) {
      const Matrix whole = matrix(blk + "ffn_up", 2 * rows, n.width, biases);
      if (read.failed()) return normed;
      gate = slice(whole, "gate", 0, rows);
      up = slice(whole, "up", rows, rows);
    } else {
      gate = matrix(blk + "ffn_gate", rows, n.width, biases);
      up = matrix(blk + "ffn_up", rows, n.width, biases);
    }
    const uint32_t gated = product(blk + "gate", normed, gate, layer);
    const uint32_t upward = product(blk + "up", normed, up, layer);
    const uint32_t act = plain(op::Gate{op::Activation::silu}, blk + "act", {gated, upward}, layer);
    return product(blk + "down", act, matrix(blk + "ffn_down", n.width, rows, biases), layer);
  }

  /// One block: x += attention(norm(x)); x += ffn(norm(x)).
  uint32_t block(uint32_t x, uint32_t layer) {
    const std::string blk = fmt::format("blk.{}.", layer);
    const uint32_t normed = norm(blk + "attn_norm", x, blk + "attn_norm.weight", 1, layer);
    const uint32_t attended = attention(normed, blk, layer);
    const uint32_t middle = plain(op::Add{}, blk + "attn_residual", {x, attended}, layer);
    const uint32_t ffn_in = norm(blk + "ffn_norm", middle, blk + "ffn_norm.weight", 1, layer);
    const uint32_t down = feed_forward(ffn_in, blk, layer);
    return plain(op::Add{}, blk + "out", {middle, down}, layer, op::Role::block_output);
  }
};

}  // namespace

Result<op::Program> build_decoder(const gguf::File& file, const Architecture& architecture,
                                  uint32_t context) {
  Reader read(file, architecture);
  const Numbers n = read_numbers(read, file, architecture, context);
  if (read.failed()) return read.error();

  op::Program program;
  program.vocabulary = n.vocabulary;
  program.width = n.width;
  program.layers = n.layers;
  program.trained_context = n.trained_context;
  program.context = n.context;
  program.rope_factors = n.rope_factors;
  program.rope_tables = {n.rope};
  program.caches.assign(n.layers, {n.kv_heads, n.key_dim, n.value_dim});

  Builder build{program, read, architecture, n};
  const op::Weight embedding = read.matrix("token_embd.weight", n.vocabulary, n.width);
  if (read.failed()) return read.error();
  uint32_t x = program.append({.name = "embd",
                               .of = op::Embed{},
                               .weight = program.add_weight(embedding),
                               .role = op::Role::embedding});
  for (uint32_t layer = 0; layer < n.layers && !read.failed(); ++layer) x = build.block(x, layer);
  x = build.plain(op::SelectRows{}, "out_selected", {x}, op::none);
  x = build.norm("out_norm", x, "output_norm.weight", 1, op::none);
  const bool tied = !read.has_tensor("output.weight");  // the head is the embedding
  Matrix head = build.matrix(tied ? "token_embd" : "output", n.vocabulary, n.width, false);
  if (architecture.output_bias && read.has_tensor("output.bias"))
    head.bias = read.vector("output.bias", n.vocabulary);
  build.product("logits", x, head, op::none, op::Role::logits);
  for (const std::string_view tensor : architecture.unused_tensors)
    read.accept_tensor(std::string(tensor));
  read.refuse_unused_tensors();
  if (read.failed()) return read.error();
  program.assign_buffers();
  return program;
}

}  // namespace assay::model
