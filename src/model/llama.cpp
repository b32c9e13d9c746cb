#include "model/llama.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "gguf/reader.h"
#include "model/reader.h"
#include "op/rope.h"
#include "quant/formats.h"

namespace assay::model {

namespace {

struct Numbers {
  uint32_t layers, width, ffn_width, heads, kv_heads, key_dim, value_dim, context, vocabulary;
  float eps, attention_scale;
  op::RopeParameters rope;
  std::vector<float> rope_factors;
};

constexpr uint32_t limit = 1u << 20;  // far above any model's width, far below what could wrap

void read_rope(Reader& read, const gguf::File& file, Numbers& n) {
  op::RopeParameters& rope = n.rope;
  rope.dimensions = read.integer_or("rope.dimension_count", 2, n.key_dim, n.key_dim);
  if (rope.dimensions % 2)
    read.fail(fmt::format("llama.rope.dimension_count {} is odd", rope.dimensions));
  rope.base = read.real_or("rope.freq_base", 1.0, 1e12, 10000.0);
  rope.factor = read.real_or("rope.scaling.factor", 1e-3, 1e6,
                             read.real_or("rope.scale_linear", 1e-3, 1e6, 1.0));
  const std::string scaling =
      read.text_or("rope.scaling.type", rope.factor == 1.0 ? "none" : "linear");
  if (scaling == "linear")
    rope.scaling = op::RopeScaling::linear;
  else if (scaling == "yarn")
    rope.scaling = op::RopeScaling::yarn;
  else if (scaling != "none")
    read.fail(
        fmt::format("llama.rope.scaling.type '{}' is not supported; supported: none, linear, yarn",
                    gguf::printable(scaling)));
  rope.original_context =
      read.integer_or("rope.scaling.original_context_length", 1, 1u << 31, n.context);
  rope.attention_factor = read.real_or("rope.scaling.attn_factor", 1e-3, 1e3, 1.0);
  rope.beta_fast = read.real_or("rope.scaling.yarn_beta_fast", 1e-3, 1e6, 32.0);
  rope.beta_slow = read.real_or("rope.scaling.yarn_beta_slow", 1e-3, 1e6, 1.0);
  read.refuse("rope.scaling.yarn_log_multiplier");
  if (!file.find_tensor("rope_freqs.weight")) return;
  const op::Weight factors = read.vector("rope_freqs.weight", rope.dimensions / 2);
  if (read.failed()) return;
  n.rope_factors.resize(factors.columns);
  quant::decode_row(factors.type, factors.data, n.rope_factors);
  for (float factor : n.rope_factors)
    if (!(std::fabs(factor) > 1e-4f && std::fabs(factor) < 1e6f))
      read.fail("rope_freqs.weight holds a factor outside 1e-4 to 1e6");
  rope.factors = n.rope_factors;
}

/// Radians a position of the fastest pair.
double largest_frequency(const op::RopeParameters& parameters) {
  double largest = 0;
  for (double frequency : op::make_rope(parameters, true).frequency)
    largest = std::max(largest, std::fabs(frequency));
  return largest;
}

Numbers read_numbers(Reader& read, const gguf::File& file) {
  Numbers n{};
  n.layers = read.integer("block_count", 1, 4096);
  n.width = read.integer("embedding_length", 1, limit);
  n.ffn_width = read.integer("feed_forward_length", 1, limit);
  n.heads = read.integer("attention.head_count", 1, 65536);
  n.kv_heads = read.integer_or("attention.head_count_kv", 1, 65536, n.heads);
  n.context = read.integer("context_length", 1, 1u << 31);
  n.eps = float(read.real("attention.layer_norm_rms_epsilon", 1e-30, 1.0));
  if (read.failed()) return n;
  if (n.heads % n.kv_heads)
    read.fail(fmt::format("llama.attention.head_count {} is not a multiple of head_count_kv {}",
                          n.heads, n.kv_heads));
  n.key_dim = read.integer_or("attention.key_length", 1, 65536, n.width / n.heads);
  n.value_dim = read.integer_or("attention.value_length", 1, 65536, n.width / n.heads);
  if (n.width % n.heads && !file.find("llama.attention.key_length"))
    read.fail(fmt::format("llama.embedding_length {} is not a multiple of head_count {}", n.width,
                          n.heads));
  if (n.key_dim == 0 || n.value_dim == 0) read.fail("the head dimension is zero");
  if (read.failed()) return n;
  n.attention_scale =
      float(read.real_or("attention.scale", 1e-6, 1e6, 1.0 / std::sqrt(double(n.key_dim))));
  read_rope(read, file, n);
  if (read.failed()) return n;
  if (double(n.context) * largest_frequency(n.rope) > 0x1p24)
    read.fail("llama.context_length and RoPE's frequencies make angles beyond 2^24");
  // Soft caps are other architectures' and mean nothing here, as in llama.cpp.
  for (const char* name :
       {"expert_count", "expert_used_count", "attention.sliding_window", "logit_scale",
        "residual_scale", "embedding_scale", "attention.clamp_kqv", "use_parallel_residual"})
    read.refuse(name);
  const gguf::Tensor* embedding = file.find_tensor("token_embd.weight");
  const uint64_t rows = embedding ? embedding->dims[1] : 0;
  if (rows == 0 || rows > (1u << 24))
    read.fail(embedding ? fmt::format("token_embd.weight has {} rows", rows)
                        : "tensor 'token_embd.weight' is missing");
  n.vocabulary = uint32_t(rows);
  if (read.integer_or("vocab_size", 1, 1u << 24, n.vocabulary) != n.vocabulary)
    read.fail(fmt::format("llama.vocab_size differs from the {} rows of token_embd.weight",
                          n.vocabulary));
  if (const gguf::Value* tokens = file.find("tokenizer.ggml.tokens"))
    if (const auto* array = std::get_if<gguf::Array>(&tokens->data);
        array && array->count > n.vocabulary)
      read.fail(fmt::format("the tokenizer has {} tokens, token_embd.weight only {} rows",
                            array->count, n.vocabulary));
  return n;
}

/// Appends operations to a program, weights by name.
struct Builder {
  op::Program& program;
  Reader& read;
  const Numbers& n;

  /// W·x + b. Where the file has a scalar NAME.scale s it is (W·x)·s + b, and (W·x + b)·s for the
  /// feed-forward part: two operations, the first with "_unscaled" after its name.
  uint32_t matmul(const std::string& output, uint32_t input, const std::string& tensor,
                  uint32_t rows, uint32_t layer) {
    const bool scaled = read.has_tensor(tensor + ".scale");
    const bool bias_last = scaled && tensor.find(".ffn_") == std::string::npos;
    const std::string name = scaled ? output + "_unscaled" : output;
    op::Operation operation{.name = name, .of = op::Matmul{}, .inputs = {input}, .layer = layer};
    if (output == "logits") operation.role = op::Role::logits;
    const op::Weight weight = read.matrix(tensor + ".weight", rows, program.values[input].width);
    uint32_t bias = op::none;
    if (read.has_tensor(tensor + ".bias"))
      bias = program.add_weight(read.vector(tensor + ".bias", rows));
    if (read.has_tensor(tensor + ".input_scale"))
      read.vector(tensor + ".input_scale", 1);  // NVFP4's: not used
    float factor = 1;
    if (scaled) factor = scalar(tensor + ".scale");
    if (read.failed()) return input;
    operation.weight = program.add_weight(weight);
    if (!bias_last) operation.bias = bias;
    const uint32_t product = program.append(operation);
    if (!scaled) return product;
    return program.append({.name = output,
                           .of = op::Scale{factor},
                           .inputs = {product},
                           .bias = bias_last ? bias : op::none,
                           .layer = layer,
                           .role = operation.role});
  }

  float scalar(const std::string& tensor) {
    const op::Weight weight = read.vector(tensor, 1);
    float value = 1;
    if (!read.failed()) quant::decode_row(weight.type, weight.data, {&value, 1});
    return value;
  }

  uint32_t norm(const std::string& output, uint32_t input, const std::string& tensor,
                uint32_t layer) {
    const op::Weight weight = read.vector(tensor, n.width);
    if (read.failed()) return input;
    return program.append({.name = output,
                           .of = op::RmsNorm{.eps = n.eps},
                           .inputs = {input},
                           .weight = program.add_weight(weight),
                           .layer = layer});
  }

  uint32_t plain(op::Parameters of, const std::string& output, std::vector<uint32_t> inputs,
                 uint32_t layer, op::Role role = op::Role::inner) {
    return program.append(
        {.name = output, .of = of, .inputs = std::move(inputs), .layer = layer, .role = role});
  }

  /// One block: x += attention(norm(x)); x += ffn(norm(x)).
  uint32_t block(uint32_t x, uint32_t layer) {
    const std::string blk = fmt::format("blk.{}.", layer);
    const uint32_t key_width = n.kv_heads * n.key_dim;
    const uint32_t value_width = n.kv_heads * n.value_dim;
    const uint32_t normed = norm(blk + "attn_norm", x, blk + "attn_norm.weight", layer);
    const uint32_t q = matmul(blk + "q", normed, blk + "attn_q", n.heads * n.key_dim, layer);
    const uint32_t k = matmul(blk + "k", normed, blk + "attn_k", key_width, layer);
    const uint32_t v = matmul(blk + "v", normed, blk + "attn_v", value_width, layer);
    if (read.failed()) return x;
    const uint32_t q_rope = plain(op::Rope{.heads = n.heads}, blk + "q_rope", {q}, layer);
    const uint32_t k_rope = plain(op::Rope{.heads = n.kv_heads}, blk + "k_rope", {k}, layer);
    plain(op::KvStore{.cache = layer}, blk + "kv", {k_rope, v}, layer);
    const uint32_t kqv =
        plain(op::Attend{.cache = layer, .heads = n.heads, .scale = n.attention_scale}, blk + "kqv",
              {q_rope}, layer);
    const uint32_t out = matmul(blk + "attn_out", kqv, blk + "attn_output", n.width, layer);
    if (read.failed()) return x;
    const uint32_t middle = plain(op::Add{}, blk + "attn_residual", {x, out}, layer);
    const uint32_t ffn_in = norm(blk + "ffn_norm", middle, blk + "ffn_norm.weight", layer);
    const uint32_t gate = matmul(blk + "gate", ffn_in, blk + "ffn_gate", n.ffn_width, layer);
    const uint32_t up = matmul(blk + "up", ffn_in, blk + "ffn_up", n.ffn_width, layer);
    if (read.failed()) return x;
    const uint32_t act = plain(op::Gate{op::Activation::silu}, blk + "act", {gate, up}, layer);
    const uint32_t down = matmul(blk + "down", act, blk + "ffn_down", n.width, layer);
    if (read.failed()) return x;
    return plain(op::Add{}, blk + "out", {middle, down}, layer, op::Role::block_output);
  }
};

}  // namespace

Result<op::Program> build_llama(const gguf::File& file) {
  Reader read(file, "llama");
  const Numbers n = read_numbers(read, file);
  if (read.failed()) return read.error();

  op::Program program;
  program.vocabulary = n.vocabulary;
  program.width = n.width;
  program.layers = n.layers;
  program.trained_context = n.context;
  // GGUF files of this architecture hold Q and K for adjacent pairs.
  program.rope_tables = {op::make_rope(n.rope, true)};
  program.caches.assign(n.layers, {n.kv_heads, n.key_dim, n.value_dim});

  Builder build{program, read, n};
  const op::Weight embedding = read.matrix("token_embd.weight", n.vocabulary, n.width);
  if (read.failed()) return read.error();
  uint32_t x = program.append({.name = "embd",
                               .of = op::Embed{},
                               .weight = program.add_weight(embedding),
                               .role = op::Role::embedding});
  for (uint32_t layer = 0; layer < n.layers && !read.failed(); ++layer) x = build.block(x, layer);
  if (read.failed()) return read.error();
  x = build.plain(op::SelectRows{}, "out_selected", {x}, op::none);
  x = build.norm("out_norm", x, "output_norm.weight", op::none);
  const char* head =
      read.has_tensor("output.weight") ? "output" : "token_embd";  // absent: tied to the embedding
  build.matmul("logits", x, head, n.vocabulary, op::none);
  read.refuse_unused_tensors();
  if (read.failed()) return read.error();
  program.assign_buffers();
  return program;
}

}  // namespace assay::model
