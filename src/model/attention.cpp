// Attention of a block, from its normed input to the product that leads back to the residual stream.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "model/builder.h"
#include "quant/formats.h"

namespace assay::model {

namespace {

constexpr std::string_view tags[] = {"q", "k", "v"};

}  // namespace

/// Three tensors. Where attn_v may be absent, fewer.
std::vector<Matrix> Builder::separate_inputs(const Block& block,
                                             const std::vector<uint64_t>& rows) {
  const Attention& of = architecture.attention;
  std::vector<Matrix> matrices;
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string name = block.tensors + "attn_" + std::string(tags[i]);
    if (i == 2 && of.value_may_be_key && !read.has_tensor(name + ".weight")) break;
    matrices.push_back(matrix(name, rows[i], n.width, {of.qkv_biases, of.qkv_scales, true}));
  }
  return matrices;
}

/// The matrices of q, k and v: three tensors, or the rows of attn_qkv in this order. Where attn_qkv
/// has no bias of its own, those of attn_q, attn_k and attn_v count if all are there. Where the
/// cache is another block's, q alone.
std::vector<Matrix> Builder::attention_inputs(const Block& block) {
  const LayerNumbers& layer = block.numbers;
  const Attention& of = architecture.attention;
  std::vector<uint64_t> rows = {uint64_t(layer.heads) * layer.key_dim,
                                uint64_t(layer.kv_heads) * layer.key_dim,
                                uint64_t(layer.kv_heads) * layer.value_dim};
  const bool reads_another = layer.cache_of != block.index;
  const std::string fused = block.tensors + "attn_qkv";
  if (!read.has_tensor(fused + ".weight")) {
    if (reads_another) {
      rows.resize(1);
      for (const char* name : {"attn_k.weight", "attn_v.weight", "attn_k_norm.weight"})
        read.accept_tensor(block.tensors + name);
    }
    return separate_inputs(block, rows);
  }
  const auto name = [&](size_t i) { return block.tensors + "attn_" + std::string(tags[i]); };
  const bool own_bias = read.has_tensor(fused + ".bias");
  std::vector<std::optional<op::Weight>> biases(3);
  for (size_t i = 0; i < 3; ++i) {
    if (of.qkv_biases == Presence::unused) read.accept_tensor(name(i) + ".bias");
    if (of.qkv_biases == Presence::absent || of.qkv_biases == Presence::unused || own_bias)
      continue;
    if (read.has_tensor(name(i) + ".bias")) biases[i] = read.vector(name(i) + ".bias", rows[i]);
  }
  const bool all = std::ranges::all_of(biases, [](const auto& bias) { return bool(bias); });
  const Presence bias =
      of.qkv_biases == Presence::required && all ? Presence::optional : of.qkv_biases;
  const Matrix whole =
      matrix(fused, rows[0] + rows[1] + rows[2], n.width, {bias, of.qkv_scales, true});
  std::vector<Matrix> matrices;
  if (read.failed()) return std::vector<Matrix>(3);
  for (uint64_t i = 0, first = 0; i < 3; first += rows[i++]) {
    matrices.push_back(slice(whole, tags[i], first, rows[i]));
    if (all) matrices.back().bias = biases[i];
  }
  if (reads_another) matrices.resize(1);
  return matrices;
}

/// The norm of queries or keys; the input itself where there is none.
uint32_t Builder::head_norm(const Block& block, uint32_t input, std::string_view which,
                            uint32_t heads) {
  const HeadNorms& of = architecture.attention.norms;
  const auto tensor_of = [&](std::string_view part) {
    return block.tensors + fmt::format("attn_{}_norm", part);
  };
  const std::string tensor = tensor_of(which), name = block.names + fmt::format("{}_norm", which);
  if (read.failed() || of.presence == Presence::absent) return input;
  if (of.turned_layers_only && block.numbers.rope == op::none) return input;
  if (of.none_with_experts && of.none_with_experts == n.experts.count) return input;
  if (of.presence == Presence::optional) {
    if (of.together && !read.has_tensor(tensor_of("q") + ".weight")) {
      read.accept_tensors(tensor + ".*");
      return input;
    }
    if (!read.has_tensor(tensor + ".weight")) return input;
  }
  const bool gained = of.over == HeadNorms::Over::head_gained;
  const NormOf norm_of{.layer_norm = of.formula == Norms::Formula::layer,
                       .eps = n.eps,
                       .parts = of.over == HeadNorms::Over::all_heads ? 1 : heads,
                       .weight = of.weights && !gained,
                       .own_weights = of.over == HeadNorms::Over::each_head,
                       .bias = of.biases};
  if (!gained || which != "q") return norm(name, input, tensor, norm_of, block.layer);
  const op::Weight gains = read.matrix(tensor + ".weight", heads, 1);
  if (read.failed()) return input;
  const uint32_t length = width_of(input) / heads;
  std::vector<float> gain(heads), weights;
  for (uint32_t h = 0; h < heads; ++h) {
    quant::decode_row(gains.type, gains.row(h), std::span(gain).subspan(h, 1));
    weights.insert(weights.end(), length, gain[h]);
  }
  return program.append(
      {.name = name,
       .of = op::RmsNorm{.eps = n.eps, .parts = heads},
       .inputs = {input},
       .weight = program.add_constant(fmt::format("{}.weight[each of {}]", tensor, length),
                                      std::move(weights)),
       .layer = block.layer});
}

uint32_t Builder::clamped(const Block& block, uint32_t input, std::string_view which) {
  if (!architecture.attention.clamp) return input;
  const float limit = float(read.real_or("attention.clamp_kqv", 0, 1e30, 0));
  if (limit == 0) return input;
  return plain(op::Clamp{-limit, limit}, block.names + fmt::format("{}_clamped", which), {input},
               block.layer);
}

uint32_t Builder::turned(const Block& block, uint32_t input, std::string_view which,
                         uint32_t heads) {
  const uint32_t table = block.numbers.rope;
  if (table == op::none) return input;
  return plain(op::Rope{.table = table, .heads = heads},
               block.names + fmt::format("{}_rope", which), {input}, block.layer);
}

uint32_t Builder::attention_gate(const Block& block, uint32_t normed, uint32_t attended) {
  const auto activation = architecture.attention.gate;
  if (!activation) return attended;
  const std::string tensor = block.tensors + "attn_gate";
  const uint64_t all = width_of(attended), heads = block.numbers.heads;
  const uint64_t rows = read.rows_of(tensor + ".weight") == heads ? heads : all;
  const uint32_t gate =
      product(block.names + "attn_gate", normed, matrix(tensor, rows, n.width, {}), block.layer);
  return plain(op::Gate{*activation}, block.names + "attn_gated", {gate, attended}, block.layer);
}

op::Attend Builder::attend(const Block& block) {
  const Attention& of = architecture.attention;
  const LayerNumbers& layer = block.numbers;
  double scale = 1.0 / std::sqrt(double(layer.key_dim));
  if (of.scale == Attention::Scale::one) scale = 1;
  if (of.scale == Attention::Scale::length) scale = 1.0 / double(layer.key_dim);
  if (of.root_of_width_with == n.layers.size())
    scale = 1.0 / std::sqrt(double(n.width / layer.heads));
  if (of.scale == Attention::Scale::key)
    scale =
        read.real_or_off(of.scale_key, -1e30, 1e30, of.default_scale ? of.default_scale : scale);
  op::Attend attend{.cache = block.cache,
                    .heads = layer.heads,
                    .scale = float(scale),
                    .window = layer.window,
                    .chunked = layer.window > 0 && architecture.windows.chunked};
  if (of.soft_cap)
    attend.soft_cap = float(read.real_or("attn_logit_softcapping", 0, 1e30, *of.soft_cap));
  if (of.alibi_with == 0 || of.alibi_with == n.layers.size()) attend.alibi = of.alibi;
  if (of.alibi_by_key) attend.alibi = float(read.real_or("attention.max_alibi_bias", 0, 1e30, 0));
  return attend;
}

uint32_t Builder::tempered(const Block& block, uint32_t q) {
  const auto& temperature = architecture.attention.temperature;
  if (!temperature || n.temperature == op::none) return q;
  if (temperature->unturned_layers_only && block.numbers.rope != op::none) return q;
  return plain(op::PositionScale{n.temperature}, block.names + "q_scaled", {q}, block.layer);
}

uint32_t Builder::query_and_store(uint32_t normed, const Block& block) {
  const std::vector<Matrix> inputs = attention_inputs(block);
  if (read.failed()) return normed;
  const Attention& of = architecture.attention;
  const uint32_t heads[] = {block.numbers.heads, block.numbers.kv_heads};
  const bool stores = inputs.size() > 1;
  std::vector<uint32_t> x;
  for (size_t i = 0; i < inputs.size(); ++i)
    x.push_back(product(block.names + std::string(tags[i]), normed, inputs[i], block.layer));
  for (size_t i = 0; i < x.size(); ++i) x[i] = clamped(block, x[i], tags[i]);
  if (stores && x.size() < 3) x.push_back(x[1]);  // the values are the keys as they are now
  const size_t turning = stores ? 2 : 1;
  const auto norms = [&] {
    for (size_t i = 0; i < turning; ++i) x[i] = head_norm(block, x[i], tags[i], heads[i]);
  };
  if (!of.norms.after_rope) norms();
  for (size_t i = 0; i < turning; ++i) x[i] = turned(block, x[i], tags[i], heads[i]);
  if (of.norms.after_rope) norms();
  x[0] = tempered(block, x[0]);
  if (!stores) return x[0];
  if (of.value_norm)
    x[2] = norm(block.names + "v_norm", x[2], {},
                {.eps = n.eps, .parts = block.numbers.kv_heads, .weight = false}, block.layer);
  plain(op::KvStore{.cache = block.cache}, block.names + "kv", {x[1], x[2]}, block.layer);
  return x[0];
}

uint32_t Builder::attention(uint32_t normed, const Block& block) {
  const Attention& of = architecture.attention;
  const LayerNumbers& layer = block.numbers;
  const std::string out = block.tensors + "attn_output";
  if (layer.kv_heads == 0)
    return product(block.names + "attn_out", normed,
                   matrix(out, n.width, n.width, {Presence::unused}), block.layer);
  const uint32_t q = query_and_store(normed, block);
  if (read.failed()) return normed;
  op::Operation operation{
      .name = block.names + "kqv", .of = attend(block), .inputs = {q}, .layer = block.layer};
  const std::string sinks = block.tensors + "attn_sinks.weight";
  if (of.sinks == Presence::required ||
      (of.sinks == Presence::optional && read.has_tensor(sinks))) {
    const op::Weight weight = read.vector(sinks, layer.heads);
    if (read.failed()) return normed;
    operation.weight = program.add_weight(weight);
  }
  if (read.failed()) return normed;
  uint32_t attended = program.append(std::move(operation));
  attended = attention_gate(block, normed, attended);
  const Matrix m =
      matrix(out, n.width, uint64_t(layer.heads) * layer.value_dim, {of.out_bias, true, true});
  const uint32_t result = product(block.names + "attn_out", attended, m, block.layer);
  if (!of.result_scale) return result;
  return scaled(block.names + "attn_out_scaled", result,
                read.real_or_off("attention.value_scale", -1e30, 1e30, 1), block.layer);
}

}  // namespace assay::model
