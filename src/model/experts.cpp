// Routers, experts and the shared expert.
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "model/builder.h"
#include "quant/formats.h"

namespace assay::model {

/// The experts that the router chooses, with their weights.
uint32_t Builder::routing(const FeedForwardInputs& inputs, const Block& block) {
  const Experts& of = architecture.experts;
  const uint32_t count = n.experts.count;
  const std::string tensor = block.tensors + "ffn_gate_inp";
  uint32_t x = of.reads_block_input ? inputs.block_input : inputs.normed;
  if (of.bare_router_norm) {  // the tensor's factors over √width are the norm's weight
    std::vector<float> weights = read.values(tensor + ".scale", n.width);
    if (read.failed()) return x;
    for (float& weight : weights) weight = float(double(weight) / std::sqrt(double(n.width)));
    x = program.append(
        {.name = block.names + "router_norm",
         .of = op::RmsNorm{.eps = n.eps},
         .inputs = {inputs.middle},
         .weight = program.add_constant(tensor + ".scale[over root]", std::move(weights)),
         .layer = block.layer});
  }
  Matrix m{.weight = read.matrix(tensor + ".weight", count, n.width)};
  if (of.router_bias == Presence::required ||
      (of.router_bias == Presence::optional && read.has_tensor(tensor + ".bias")))
    m.bias = read.vector(tensor + ".bias", count);
  const uint32_t logits = product(block.names + "router", x, m, block.layer);

  op::Operation route{.name = block.names + "routing",
                      .of = n.experts.router,
                      .inputs = {logits},
                      .layer = block.layer};
  const std::string bias = block.tensors + "exp_probs_b";
  const bool bare = read.has_tensor(bias) && !read.has_tensor(bias + ".bias");
  const bool has_bias = bare || read.has_tensor(bias + ".bias");
  if (of.choice_bias == Presence::required || (of.choice_bias == Presence::optional && has_bias)) {
    const op::Weight weight = read.vector(bare ? bias : bias + ".bias", count);
    if (n.experts.router.of_chosen)
      read.fail(fmt::format("{} with the softmax of the chosen experts is not implemented", bias));
    if (read.failed()) return x;
    route.bias = program.add_weight(weight);
  } else if (n.experts.router.groups > 1 && !n.experts.router.of_chosen && !of.weighs_input) {
    // groups are compared by probabilities, not by logits as in the other two
    route.bias =
        program.add_constant(fmt::format("zeros({})", count), std::vector<float>(count, 0.0f));
  }
  if (read.failed()) return x;
  return program.append(std::move(route));
}

/// The product with ffn_WHICH_exps, with its scales and biases where they count.
uint32_t Builder::expert_product(const Block& block, std::string_view which, uint32_t input,
                                 uint32_t routing, uint64_t rows, uint64_t columns) {
  const Experts& of = architecture.experts;
  const uint32_t count = n.experts.count;
  const std::string tensor = block.tensors + fmt::format("ffn_{}_exps", which);
  const std::string name = block.names + fmt::format("experts_{}", which);
  const op::Weight weight = read.experts(tensor + ".weight", count, rows, columns);
  uint32_t bias = op::none, scale = op::none;
  if (of.biases == Presence::required ||
      (of.biases == Presence::optional && read.has_tensor(tensor + ".bias"))) {
    const op::Weight held = read.matrix(tensor + ".bias", count, rows);
    if (!read.failed() && held.type != quant::F32::id)
      read.fail(fmt::format("tensor '{}.bias' is not of type F32", tensor));
    if (!read.failed()) bias = program.add_weight(held);
  }
  read.accept_tensor(tensor + ".input_scale");
  if (read.has_tensor(tensor + ".scale")) {
    const op::Weight held = read.vector(tensor + ".scale", count);
    if (of.scales && !read.failed()) scale = program.add_weight(held);
  }
  if (read.failed()) return input;
  const bool scaled = scale != op::none;
  const uint32_t result = program.append({.name = scaled ? name + "_unscaled" : name,
                                          .of = op::MatmulExperts{count},
                                          .inputs = {input, routing},
                                          .weight = program.add_weight(weight),
                                          .bias = scaled ? op::none : bias,
                                          .layer = block.layer});
  if (!scaled) return result;
  return program.append({.name = name,
                         .of = op::ScaleExperts{},
                         .inputs = {result, routing},
                         .weight = scale,
                         .bias = bias,
                         .layer = block.layer});
}

uint32_t Builder::experts(const FeedForwardInputs& inputs, const Block& block) {
  const Experts& of = architecture.experts;
  const uint32_t width = n.experts.width, used = n.experts.router.used;
  const uint32_t chosen = routing(inputs, block);
  uint32_t x = inputs.normed;
  if (of.weighs_input)
    x = plain(op::SpreadExperts{}, block.names + "experts_in", {x, chosen}, block.layer);
  if (read.failed()) return x;
  uint32_t gate, up;
  if (read.has_tensor(block.tensors + "ffn_gate_up_exps.weight")) {
    const uint32_t both = expert_product(block, "gate_up", x, chosen, 2 * width, n.width);
    const auto half = [&](const char* name, uint32_t first) {
      return plain(op::Slice{first, width, used}, block.names + name, {both}, block.layer);
    };
    gate = half("experts_gate", 0);
    up = half("experts_up", width);
  } else {
    gate = expert_product(block, "gate", x, chosen, width, n.width);
    up = expert_product(block, "up", x, chosen, width, n.width);
  }
  const float limit = n.experts.clamp.empty() ? 0.0f : n.experts.clamp[block.index];
  if (limit > 1e-6f) {
    constexpr float lowest = std::numeric_limits<float>::lowest();
    gate =
        plain(op::Clamp{lowest, limit}, block.names + "experts_gate_clamped", {gate}, block.layer);
    up = plain(op::Clamp{-limit, limit}, block.names + "experts_up_clamped", {up}, block.layer);
  }
  const op::Activation activation =
      of.activation == architecture.ffn.activation ? n.activation : of.activation;
  const uint32_t act =
      plain(op::Gate{activation}, block.names + "experts_act", {gate, up}, block.layer);
  const uint32_t down = expert_product(block, "down", act, chosen, n.width, width);
  if (read.failed()) return x;
  return plain(op::MixExperts{of.weighs_input ? 0u : 1u}, block.names + "experts", {down, chosen},
               block.layer);
}

uint32_t Builder::shared_expert(uint32_t normed, const Block& block) {
  const Experts& of = architecture.experts;
  const uint32_t shared =
      chain(normed, block,
            {.suffix = "_shexp",
             .prefix = "shared_",
             .width = n.experts.shared_width,
             .shape = of.shared_fused ? FeedForward::Shape::fused : FeedForward::Shape::gated,
             .scales = of.shared_scales ? FeedForward::Scales::all : FeedForward::Scales::unused});
  if (!of.shared_gate || read.failed()) return shared;
  const Matrix m{.weight = read.matrix(block.tensors + "ffn_gate_inp_shexp.weight", 1, n.width)};
  const uint32_t gate = product(block.names + "shared_router", normed, m, block.layer);
  return plain(op::Gate{op::Activation::sigmoid}, block.names + "shared_gated", {gate, shared},
               block.layer);
}

}  // namespace assay::model
