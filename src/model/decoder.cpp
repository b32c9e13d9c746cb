#include "model/decoder.h"

#include <fmt/format.h>

#include <cmath>

#include "model/builder.h"

namespace assay::model {

/// What the first block reads.
uint32_t Builder::embedding() {
  const Embedding& of = architecture.embedding;
  const bool borrowed = of.may_be_head && !read.has_tensor("token_embd.weight");
  const std::string table = borrowed ? "output.weight" : "token_embd.weight";
  const op::Weight weight = read.matrix(table, n.vocabulary, n.width);
  if (read.failed()) return op::none;
  uint32_t x = program.append({.name = "embd",
                               .of = op::Embed{},
                               .weight = program.add_weight(weight),
                               .role = op::Role::embedding});
  if (of.scale == Embedding::Scale::root_of_width)
    x = scaled("embd_scaled", x, std::sqrt(double(n.width)), op::none);
  if (of.scale == Embedding::Scale::key) {
    const double scale = read.real_or("embedding_scale", -1e30, 1e30, of.default_scale);
    x = scaled("embd_scaled", x, scale == 0 ? 1 : scale, op::none);
  }
  const std::string positions = "position_embd.weight";
  if (of.positions == Presence::required ||
      (of.positions == Presence::optional && read.has_tensor(positions))) {
    const op::Weight rows = read.matrix(positions, n.trained_context, n.width);
    if (n.context > n.trained_context)
      read.fail(fmt::format("{} has {} rows: a context of {} needs more; -c {} works", positions,
                            n.trained_context, n.context, n.trained_context));
    if (read.failed()) return x;
    const uint32_t of_position = program.append({.name = "positions",
                                                 .of = op::Embed{.of_position = true},
                                                 .weight = program.add_weight(rows)});
    x = plain(op::Add{}, "embd_positioned", {x, of_position}, op::none);
  }
  if (of.norm == Embedding::Norm::tensor)
    x = model_norm("embd_norm", x, "token_embd_norm", op::none);
  if (of.norm == Embedding::Norm::bare)
    x = norm("embd_norm", x, {}, {.layer_norm = n.layer_norm, .eps = n.eps, .weight = false},
             op::none);
  return x;
}

/// A second embedding with a part for each block, half from the token and half from the first
/// embedding.
void Builder::per_layer_embeddings(uint32_t x) {
  if (architecture.embedding.per_layer == Presence::absent || read.failed()) return;
  const uint32_t width = read.integer_or("embedding_length_per_layer_input", 0, largest_width, 0);
  const uint32_t layers = uint32_t(n.layers.size());
  if (width == 0) return;
  const op::Weight table =
      read.matrix("per_layer_token_embd.weight", n.vocabulary, uint64_t(width) * layers);
  const Matrix m = matrix("per_layer_model_proj", uint64_t(width) * layers, n.width, {});
  if (read.failed()) return;
  uint32_t of_token = program.append(
      {.name = "per_layer_embd", .of = op::Embed{}, .weight = program.add_weight(table)});
  of_token = scaled("per_layer_embd_scaled", of_token, std::sqrt(double(width)), op::none);
  uint32_t of_x = product("per_layer_proj", x, m, op::none);
  of_x = scaled("per_layer_proj_scaled", of_x, 1.0 / std::sqrt(double(n.width)), op::none);
  of_x = norm("per_layer_proj_norm", of_x, "per_layer_proj_norm", {.eps = n.eps, .parts = layers},
              op::none);
  const uint32_t sum = plain(op::Add{}, "per_layer_sum", {of_x, of_token}, op::none);
  per_layer = scaled("per_layer", sum, std::sqrt(0.5), op::none);
}

/// x += norm(proj·(f(inp_gate·x) ⊙ the block's part of the second embedding))
uint32_t Builder::add_per_layer(uint32_t x, const Block& block) {
  const uint32_t width = width_of(per_layer) / uint32_t(n.layers.size());
  const uint32_t gate =
      product(block.names + "per_layer_gate", x,
              matrix(block.tensors + "inp_gate", width, n.width, {}), block.layer);
  const uint32_t part = plain(op::Slice{block.index * width, width}, block.names + "per_layer_part",
                              {per_layer}, block.layer);
  const uint32_t act =
      plain(op::Gate{n.activation}, block.names + "per_layer_act", {gate, part}, block.layer);
  const uint32_t up = product(block.names + "per_layer_up", act,
                              matrix(block.tensors + "proj", n.width, width, {}), block.layer);
  const uint32_t normed =
      model_norm(block.names + "per_layer_norm", up, block.tensors + "post_norm", block.layer);
  return plain(op::Add{}, block.names + "per_layer_residual", {x, normed}, block.layer);
}

/// What follows a block's two parts.
uint32_t Builder::block_end(uint32_t x, const Block& block) {
  using LayerScale = Architecture::LayerScale;
  if (per_layer != op::none && !read.failed()) x = add_per_layer(x, block);
  const std::string tensor = block.tensors + "layer_output_scale.weight";
  if (architecture.layer_scale == LayerScale::none || !read.has_tensor(tensor)) return x;
  const std::vector<float> scale = read.values(tensor, 1);
  if (read.failed()) return x;
  if (architecture.layer_scale == LayerScale::output)
    return plain(op::Scale{scale[0]}, block.names + "ffn_residual_scaled", {x}, block.layer);
  const uint32_t part =
      plain(op::Scale{scale[0]}, block.names + "embd_scaled", {embedded}, block.layer);
  return plain(op::Add{}, block.names + "embd_residual", {x, part}, block.layer);
}

/// x += attention(norm(x)); x += ffn(norm(x)), or both from the same x.
uint32_t Builder::block(uint32_t x, const Block& block) {
  using Parallel = Architecture::Parallel;
  const Norms& norms = architecture.norms;
  const auto normed = [&](std::string_view name, uint32_t input, std::string_view tensor,
                          float eps = 0) {
    if (tensor.empty()) return input;
    return model_norm(block.names + std::string(name), input, block.tensors + std::string(tensor),
                      block.layer, eps);
  };
  double factor = 1;
  if (architecture.residual_scale) {
    const double depth = architecture.residual_scale_of_depth;
    factor = read.real_or_off("residual_scale", -1e30, 1e30,
                              read.has_key("residual_scale") || depth == 0
                                  ? 1
                                  : depth / std::sqrt(double(n.layers.size())));
  }
  const bool has_ffn_norm =
      !norms.before_ffn.empty() &&
      (architecture.parallel != Parallel::without_ffn_norm ||
       read.has_tensor(block.tensors + std::string(norms.before_ffn) + ".weight"));
  const bool parallel =
      architecture.parallel == Parallel::always ||
      (architecture.parallel == Parallel::without_ffn_norm && !has_ffn_norm) ||
      (architecture.parallel == Parallel::key && read.flag("use_parallel_residual"));

  uint32_t middle = x, first = x;
  if (block.numbers.heads > 0) {
    first = normed("attn_norm", x, norms.before_attention);
    uint32_t own = first;
    if (!norms.of_attention_alone.empty() &&
        read.has_tensor(block.tensors + std::string(norms.of_attention_alone) + ".weight"))
      own = normed("attn_norm_2", x, norms.of_attention_alone);
    uint32_t attended = attention(own, block);
    attended = normed("attn_post_norm", attended, norms.after_attention, norms.eps_after);
    attended = scaled(block.names + "attn_scaled", attended, factor, block.layer);
    middle = plain(op::Add{}, block.names + "attn_residual", {x, attended}, block.layer);
  }
  uint32_t out = middle;
  if (block.numbers.ffn_width > 0) {
    const uint32_t input = parallel ? x : middle;
    const uint32_t ffn_in = has_ffn_norm ? normed("ffn_norm", input, norms.before_ffn)
                            : parallel   ? first
                                         : input;
    uint32_t down = feed_forward({x, middle, ffn_in}, block);
    const bool other = !norms.or_after_ffn.empty() &&
                       read.has_tensor(block.tensors + std::string(norms.or_after_ffn) + ".weight");
    down = normed("ffn_post_norm", down, other ? norms.or_after_ffn : norms.after_ffn,
                  norms.eps_after);
    down = scaled(block.names + "ffn_scaled", down, factor, block.layer);
    out = plain(op::Add{}, block.names + "ffn_residual", {middle, down}, block.layer);
  }
  return block_end(out, block);
}

/// All blocks, as often as the file says. Whatever a block ends with is called "out".
uint32_t Builder::blocks(uint32_t x) {
  const uint32_t layers = uint32_t(n.layers.size());
  uint32_t passes = 1;
  bool norm_between = false;
  if (architecture.loops) {
    passes = read.integer_or("num_loops", 1, 4096 / layers, 1);
    norm_between = !read.flag_or("skip_loop_final_norm", false);
  }
  program.layers = layers * passes;
  program.caches.clear();
  for (uint32_t pass = 0; pass < passes; ++pass)
    for (uint32_t i = 0; i < layers && !read.failed(); ++i) {
      const LayerNumbers& numbers = n.layers[i];
      const uint32_t layer = pass * layers + i;
      program.caches.push_back({numbers.kv_heads, numbers.key_dim, numbers.value_dim});
      const Block place{.tensors = fmt::format("blk.{}.", i),
                        .names = fmt::format("blk.{}.", layer),
                        .layer = layer,
                        .cache = pass * layers + numbers.cache_of,
                        .index = i,
                        .numbers = numbers};
      const size_t before = program.operations.size();
      x = block(x, place);
      if (i + 1 == layers && pass + 1 < passes && norm_between)
        x = model_norm(place.names + "loop_norm", x, "output_norm", layer);
      if (program.operations.size() == before) continue;
      op::Operation& last = program.operations.back();
      last.role = op::Role::block_output;
      last.name = program.values[x].name = place.names + "out";
    }
  return x;
}

/// From the last block to the logits, which the last operation gives.
void Builder::head(uint32_t x) {
  const Head& of = architecture.head;
  x = plain(op::SelectRows{}, "out_selected", {x}, op::none);
  x = model_norm("out_norm", x, "output_norm", op::none);
  const bool tied = of.weight == Presence::absent ||
                    (of.weight == Presence::optional && !read.has_tensor("output.weight"));
  Matrix m = matrix(tied ? "token_embd" : "output", n.vocabulary, n.width, {});
  if (of.bias == Presence::unused) read.accept_tensor("output.bias");
  if (of.bias == Presence::required ||
      (of.bias == Presence::optional && read.has_tensor("output.bias")))
    m.bias = read.vector("output.bias", n.vocabulary);
  x = product("logits", x, m, op::none);
  if (of.scale != Head::Scale::one) {
    const bool required = std::isnan(of.default_scale);
    double scale = required ? read.real("logit_scale", -1e30, 1e30)
                            : read.real_or("logit_scale", -1e30, 1e30, of.default_scale);
    if (scale == 0) scale = 1;
    x = scaled("logits_scaled", x, of.scale == Head::Scale::divides ? 1.0 / scale : scale,
               op::none);
  }
  if (of.soft_cap) {
    const double cap = read.real_or("final_logit_softcapping", 0, 1e30, *of.soft_cap);
    if (cap > 0) plain(op::SoftCap{float(cap)}, "logits_capped", {x}, op::none);
  }
  if (!read.failed()) program.operations.back().role = op::Role::logits;
}

Result<op::Program> build_decoder(const gguf::File& file, const Architecture& architecture,
                                  uint32_t context) {
  Reader read(file, architecture);
  const Numbers n = read_numbers(read, file, architecture, context);
  if (read.failed()) return read.error();

  op::Program program;
  program.vocabulary = n.vocabulary;
  program.width = n.width;
  program.trained_context = n.trained_context;
  program.context = n.context;
  program.rope_factors = n.rope_factors;
  program.rope_tables = n.tables;

  Builder build{program, read, architecture, n};
  build.embedded = build.embedding();
  if (read.failed()) return read.error();
  build.per_layer_embeddings(build.embedded);
  build.head(build.blocks(build.embedded));
  for (const std::string_view tensor : architecture.unused_tensors) read.accept_tensors(tensor);
  for (uint32_t i = uint32_t(n.layers.size()); i < n.blocks && architecture.drafts; ++i)
    read.accept_tensors(fmt::format("blk.{}.*", i));
  read.refuse_unused_tensors();
  if (read.failed()) return read.error();
  program.assign_buffers();
  return program;
}

}  // namespace assay::model
