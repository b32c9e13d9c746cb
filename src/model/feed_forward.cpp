// The feed-forward part of a block: one chain of products, experts, or both.
#include <fmt/format.h>

#include <cmath>

#include "model/builder.h"
#include "op/trigonometry.h"

namespace assay::model {

namespace {

/// ln(1 + e^x), without libm, whose last bits differ from machine to machine.
float softplus(double x) {
  constexpr double e = 0x1.5bf0a8b145769p+1;
  return float(std::fmax(x, 0.0) +
               op::natural_log(1.0 + op::power(e, -std::fmin(std::fabs(x), 60.0))));
}

}  // namespace

/// gate and up (or one matrix with both, or up alone), the activation, down.
uint32_t Builder::chain(uint32_t input, const Block& block, const Chain& of) {
  using Scales = FeedForward::Scales;
  const auto tensor = [&](std::string_view part) {
    return block.tensors + fmt::format("ffn_{}{}", part, of.suffix);
  };
  const auto name = [&](std::string_view part) {
    return block.names + fmt::format("{}{}", of.prefix, part);
  };
  const Beside beside{of.biases, of.scales == Scales::all};
  const bool fused = of.shape == FeedForward::Shape::fused;
  const Matrix whole = matrix(tensor("up"), fused ? 2 * of.width : of.width, n.width, beside);
  Matrix gate, up = whole;
  if (of.shape == FeedForward::Shape::gated)
    gate = matrix(tensor("gate"), of.width, n.width, beside);
  if (read.failed()) return input;
  if (fused) {
    gate = slice(whole, "gate", 0, of.width);
    up = slice(whole, "up", of.width, of.width);
  }
  uint32_t act = op::none;
  if (of.shape == FeedForward::Shape::plain) {
    const uint32_t upward = product(name("up"), input, up, block.layer);
    act = architecture.ffn.xielu
              ? xielu(upward, block)
              : plain(op::Activate{of.activation}, name("act"), {upward}, block.layer);
  } else {
    const uint32_t gated = product(name("gate"), input, gate, block.layer);
    const uint32_t upward = product(name("up"), input, up, block.layer);
    act = plain(op::Gate{of.activation}, name("act"), {gated, upward}, block.layer);
  }
  const Matrix down =
      matrix(tensor("down"), n.width, of.width, {of.biases, of.scales != Scales::unused});
  return product(name("down"), act, down, block.layer);
}

/// The numbers of the activation, of each block. alpha_p and alpha_n are kept before their softplus.
uint32_t Builder::xielu(uint32_t input, const Block& block) {
  const auto number = [&](const char* name) {
    const std::string key = fmt::format(".xielu.{}", name);
    if (!read.has_key(key)) read.fail(fmt::format("{} is missing", read.key(key)));
    return double(read.reals_of_blocks(key, -1e6, 1e6, n.blocks, 0)[block.index]);
  };
  const double beta = number("beta");
  const op::Xielu of{.alpha_p = softplus(number("alpha_p")),
                     .alpha_n = float(beta + softplus(number("alpha_n"))),
                     .beta = float(beta),
                     .eps = float(number("eps"))};
  return plain(of, block.names + "act", {input}, block.layer);
}

uint32_t Builder::dense(uint32_t normed, const Block& block) {
  const FeedForward& ffn = architecture.ffn;
  return chain(normed, block,
               {.width = block.numbers.ffn_width,
                .shape = ffn.shape,
                .activation = n.activation,
                .biases = ffn.biases,
                .scales = ffn.scales});
}

/// What is added to the residual stream, before the norm after it.
uint32_t Builder::feed_forward(const FeedForwardInputs& inputs, const Block& block) {
  const Experts& of = architecture.experts;
  if (!block.numbers.experts) return dense(inputs.normed, block);
  if (of.where == Experts::Where::by_tensor)  // dense tensors beside a router mean nothing
    for (const char* part : {"gate", "up", "down"})
      read.accept_tensors(block.tensors + "ffn_" + part + ".*");
  const auto normed = [&](const char* name, uint32_t x, const char* tensor) {
    return model_norm(block.names + name, x, block.tensors + tensor, block.layer);
  };
  FeedForwardInputs routed = inputs;
  uint32_t beside = op::none;
  switch (of.dense) {
    case Experts::Dense::none:
      break;
    case Experts::Dense::reads_norm:
      beside = dense(inputs.normed, block);
      routed.normed = normed("experts_norm", inputs.block_input, "ffn_norm_exps");
      break;
    case Experts::Dense::where_there:
      if (read.has_tensor(block.tensors + "ffn_up.weight")) beside = dense(inputs.normed, block);
      break;
    case Experts::Dense::with_norms:
      beside = normed("dense_post_norm", dense(inputs.normed, block), "post_ffw_norm_1");
      routed.normed = normed("experts_norm", inputs.middle, "pre_ffw_norm_2");
      break;
  }
  uint32_t sum = experts(routed, block);
  if (of.dense == Experts::Dense::with_norms)
    sum = normed("experts_post_norm", sum, "post_ffw_norm_2");
  if (n.experts.shared_width) beside = shared_expert(routed.normed, block);
  if (beside == op::none || read.failed()) return sum;
  sum = plain(op::Add{}, block.names + "experts_sum", {sum, beside}, block.layer);
  return scaled(block.names + "experts_sum_scaled", sum, of.sum_scale, block.layer);
}

}  // namespace assay::model
