// A small program of random weights in which every kind of operation stands, most of them in more
// than one form: norms, activations, attention with windows, sinks, caps and ALiBi, routers, experts.
#pragma once

#include <cmath>
#include <cstring>
#include <deque>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "lang/lang.h"
#include "op/program.h"
#include "op/rope.h"

namespace assay::tests {

/// The bytes of a matrix and their format.
struct MadeMatrix {
  uint32_t type = 0;
  std::vector<uint8_t> bytes;
};
/// Makes one whose weights have a root mean square of about `size`.
using MakeMatrix = std::function<MadeMatrix(uint64_t rows, uint64_t columns, float size)>;

/// Of F32 (0), F16 (1) or Q8_0 (8).
inline MakeMatrix plain_matrices(uint32_t type, uint32_t seed = 3) {
  return [type, random = std::mt19937(seed)](uint64_t rows, uint64_t columns, float size) mutable {
    MadeMatrix made{type, {}};
    const auto put = [&](const auto& value) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
      made.bytes.insert(made.bytes.end(), bytes, bytes + sizeof(value));
    };
    for (uint64_t i = 0; i < rows * columns; ++i) {
      const float uniform = float(int32_t(random())) * 0x1p-31f;
      if (type == 8 && i % 32 == 0) put(k_f32_to_f16(size * (1.0f + uniform / 4) / 74.0f));
      if (type == 8) made.bytes.push_back(uint8_t(random()));
      if (type == 1) put(k_f32_to_f16(1.7f * size * uniform));
      if (type == 0) put(1.7f * size * uniform);
    }
    return made;
  };
}

class KindsProgram {
 public:
  static constexpr uint32_t vocabulary = 67, heads = 4, kv_heads = 2, experts = 8;

  /// `width`: a multiple of 64 that the format's rows can have.
  explicit KindsProgram(MakeMatrix make, uint32_t width = 64)
      : make_(std::move(make)), width_(width), ffn_(width), dim_(width / heads) {
    program.vocabulary = vocabulary, program.width = width, program.layers = 3;
    program.caches.assign(3, {kv_heads, dim_, dim_});
    op::RopeParameters rope;
    rope.dimensions = dim_;
    program.rope_tables = {op::make_rope(rope, false), op::make_growth({0.1, 16, 3})};
    const uint32_t words = add(op::Embed{}, "embd", {}, matrix("token_embd", vocabulary, width, 1));
    const uint32_t places = add(op::Embed{true}, "embd_position", {}, table("position", 200, 0.3f));
    uint32_t x = add(op::Add{}, "embd_sum", {words, places});
    for (layer_ = 0; layer_ < 3; ++layer_) x = block(x);
    layer_ = op::none;
    x = add(op::SelectRows{}, "out_selected", {x});
    x = add(op::LayerNorm{1e-5f, 1}, "out_norm", {x}, vector("out_norm.w", width, 0.3f, 1));
    x = matmul("output", x, vocabulary);
    add(op::SoftCap{30.0f}, "logits", {x});
    program.assign_buffers();
  }
  KindsProgram(const KindsProgram&) = delete;

  op::Program program;

 private:
  float uniform() { return float(int32_t(random_())) * 0x1p-31f; }
  uint32_t weight(const std::string& name, uint64_t rows, uint64_t columns, MadeMatrix made) {
    bytes_.push_back(std::move(made.bytes));
    return program.add_weight({name, made.type, rows, columns, bytes_.back()});
  }
  uint32_t matrix(const std::string& name, uint64_t rows, uint64_t columns, float size) {
    return weight(name, rows, columns, make_(rows, columns, size));
  }
  /// F32
  uint32_t vector(const std::string& name, uint64_t columns, float size, float middle,
                  uint64_t rows = 1) {
    MadeMatrix made;
    for (uint64_t i = 0; i < rows * columns; ++i) {
      const float value = middle + size * uniform();
      const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
      made.bytes.insert(made.bytes.end(), bytes, bytes + 4);
    }
    return weight(name, rows, columns, std::move(made));
  }
  uint32_t table(const std::string& name, uint64_t rows, float size) {
    return vector(name, width_, size, 0, rows);
  }
  std::string named(const std::string& name) const {
    return layer_ == op::none || name.starts_with("embd")
               ? name
               : "blk." + std::to_string(layer_) + "." + name;
  }
  uint32_t add(op::Parameters of, const std::string& name, std::vector<uint32_t> inputs,
               uint32_t weight = op::none, uint32_t bias = op::none) {
    return program.append({.name = named(name),
                           .of = of,
                           .inputs = std::move(inputs),
                           .weight = weight,
                           .bias = bias,
                           .layer = layer_});
  }
  uint32_t matmul(const std::string& name, uint32_t x, uint32_t rows, bool bias = false) {
    const uint32_t columns = program.values[x].width;
    const uint32_t w = matrix(named(name) + ".w", rows, columns, 1 / std::sqrt(float(columns)));
    return add(op::Matmul{}, name, {x}, w,
               bias ? vector(named(name) + ".b", rows, 0.1f, 0) : op::none);
  }
  /// From one row for all chosen experts, or from one for each.
  uint32_t multiply_experts(const std::string& name, uint32_t x, uint32_t routing, uint32_t rows,
                            uint32_t columns, bool bias = false) {
    const uint32_t w =
        matrix(named(name) + ".w", experts * rows, columns, 1 / std::sqrt(float(columns)));
    return add(op::MatmulExperts{experts}, name, {x, routing}, w,
               bias ? vector(named(name) + ".b", rows, 0.1f, 0, experts) : op::none);
  }
  uint32_t block_norm(const std::string& name, uint32_t x) {
    const uint32_t w = vector(named(name) + ".w", width_, 0.3f, 1);
    if (layer_ == 1) return add(op::RmsNorm{1e-5f}, name, {x}, w);
    const uint32_t b = layer_ == 0 ? vector(named(name) + ".b", width_, 0.2f, 0) : op::none;
    return add(op::LayerNorm{1e-5f, 1}, name, {x}, w, b);
  }

  uint32_t adjusted_queries(uint32_t q) {
    if (layer_ == 2) return add(op::PositionScale{1}, "q_scaled", {q});
    if (layer_ == 0)  // a weight as wide as the row
      return add(op::RmsNorm{1e-6f, heads}, "q_norm", {q},
                 vector(named("q_norm"), width_, 0.3f, 1));
    return add(op::LayerNorm{1e-6f, heads}, "q_norm", {q}, vector(named("q_norm"), dim_, 0.3f, 1));
  }
  uint32_t attention(uint32_t normed) {
    // Each head's query and gate side by side.
    const uint32_t both = matmul("q_gate", normed, 2 * width_, true);
    const uint32_t q = adjusted_queries(add(op::Slice{0, dim_, heads}, "q", {both}));
    const uint32_t gate = add(op::Slice{dim_, dim_, heads}, "gate", {both});
    const uint32_t k = matmul("k", normed, kv_heads * dim_);
    const uint32_t v = matmul("v", normed, kv_heads * dim_);
    const uint32_t q_rope = add(op::Rope{0, heads}, "q_rope", {q});
    const uint32_t k_rope = add(op::Rope{0, kv_heads}, "k_rope", {k});
    add(op::KvStore{layer_}, "kv", {k_rope, v});
    op::Attend attend{.cache = layer_, .heads = heads, .scale = 1 / std::sqrt(float(dim_))};
    if (layer_ == 0) attend.window = 19, attend.soft_cap = 5;
    if (layer_ == 1) attend.window = 48, attend.chunked = true, attend.alibi = 8;
    if (layer_ == 2) attend.soft_cap = 30, attend.alibi = 2;
    const uint32_t sinks = layer_ == 1 ? op::none : vector(named("sinks"), heads, 1, 0);
    uint32_t y = add(attend, "kqv", {q_rope}, sinks);
    y = add(op::Gate{op::Activation::sigmoid}, "kqv_gated", {gate, y});
    const uint32_t of_head = matmul("head_gate", normed, heads);
    y = add(op::Gate{op::Activation::softplus}, "kqv_heads", {of_head, y});
    return matmul("attn_out", y, width_);
  }

  /// Every activation, plain and as a gate.
  uint32_t dense(uint32_t x) {
    const uint32_t both = matmul("gate_up", x, 2 * ffn_);
    const uint32_t gate = add(op::Slice{0, ffn_, 1}, "ffn_gate", {both});
    const uint32_t up = add(op::Slice{ffn_, ffn_, 1}, "ffn_up", {both});
    uint32_t sum = add(op::Xielu{0.8f, 1.3f, 0.5f, -1e-6f}, "xielu", {gate});
    for (const op::ActivationRow& row : op::activations) {
      const std::string name(row.name), gated(row.gated);
      const uint32_t plain = add(op::Activate{row.activation}, name, {gate});
      const uint32_t product = add(op::Gate{row.activation}, gated, {gate, up});
      sum = add(op::Add{}, name + "_sum", {sum, plain});
      sum = add(op::Add{}, gated + "_sum", {sum, product});
    }
    sum = add(op::Scale{0.3f}, "scaled", {sum}, op::none, vector(named("scaled.b"), ffn_, 0.1f, 0));
    return add(op::Clamp{-0.8f, 0.7f}, "ffn", {matmul("down", sum, width_)});
  }
  /// Softmax over all experts; biases; a factor for each expert.
  uint32_t softmax_experts(uint32_t x) {
    const uint32_t logits = matmul("router", x, experts);
    const uint32_t routing = add(op::Route{.used = 3, .renormalise = 1}, "routing", {logits});
    const uint32_t gate = multiply_experts("gate_exps", x, routing, ffn_, width_, true);
    const uint32_t up = multiply_experts("up_exps", x, routing, ffn_, width_);
    const uint32_t act = add(op::Gate{op::Activation::silu_clamped}, "act_exps", {gate, up});
    uint32_t y = multiply_experts("down_exps", act, routing, width_, ffn_, true);
    y = add(op::ScaleExperts{}, "scaled_exps", {y, routing},
            vector(named("factors"), experts, 0.5f, 1),
            vector(named("factors.b"), width_, 0.1f, 0, experts));
    return add(op::MixExperts{1}, "ffn", {y, routing});
  }
  /// Sigmoid with groups and a bias that only chooses, weights before the experts; and the softmax
  /// of the chosen.
  uint32_t sigmoid_experts(uint32_t x) {
    const uint32_t logits = matmul("router", x, experts);
    const uint32_t routing =
        add(op::Route{.used = 3,
                      .groups = 4,
                      .used_groups = 2,
                      .by_two = 1,
                      .sigmoid = 1,
                      .renormalise = 1,
                      .scale = 2.5f},
            "routing", {logits}, op::none, vector(named("bias"), experts, 0.3f, 0));
    const uint32_t spread = add(op::SpreadExperts{}, "spread", {x, routing});
    const uint32_t each = multiply_experts("each_exps", spread, routing, width_, width_);
    const uint32_t first = add(op::MixExperts{0}, "ffn_first", {each, routing});
    const uint32_t other = add(op::Route{.used = 2, .of_chosen = 1}, "routing_chosen", {logits});
    const uint32_t up = multiply_experts("up_exps", x, other, width_, width_);
    const uint32_t act = add(op::Activate{op::Activation::relu_squared}, "act_exps", {up});
    const uint32_t second = add(op::MixExperts{1}, "ffn_second", {act, other});
    return add(op::Add{}, "ffn", {first, second});
  }

  uint32_t block(uint32_t x) {
    const uint32_t attended = attention(block_norm("attn_norm", x));
    const uint32_t middle = add(op::Add{}, "attn_residual", {x, attended});
    const uint32_t normed = block_norm("ffn_norm", middle);
    const uint32_t ffn = layer_ == 0   ? dense(normed)
                         : layer_ == 1 ? softmax_experts(normed)
                                       : sigmoid_experts(normed);
    return add(op::Add{}, "out", {middle, ffn});
  }

  MakeMatrix make_;
  uint32_t width_, ffn_, dim_, layer_ = op::none;
  std::mt19937 random_{7};
  std::deque<std::vector<uint8_t>> bytes_;  // a deque: the weights' views stay valid
};

}  // namespace assay::tests
