// A small model of random weights that has every kind of operation: norms of three sorts, windows,
// chunks, sinks, caps, ALiBi, RoPE by two tables and none, routers of four sorts, experts, factors.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "lang/lang.h"
#include "op/program.h"
#include "op/rope.h"

namespace assay::tests {

/// Owns the bytes of the program's weights. Matrices are Q8_0, except for F32 where `plain`.
class MixedModel {
 public:
  static constexpr uint32_t width = 64, heads = 4, kv_heads = 2, dim = 16, ffn = 160, expert = 32;
  static constexpr uint32_t window = 20, chunk = 8;

  explicit MixedModel(bool plain = false, uint32_t seed = 1) : plain_(plain), random_(seed) {
    program.vocabulary = 40, program.width = width, program.layers = 4;
    program.caches = {
        {kv_heads, dim, dim}, {kv_heads, dim, dim}, {kv_heads, dim, 24}, {kv_heads, dim, dim}};
    op::RopeParameters far, near;
    far.dimensions = near.dimensions = dim;
    far.base = 1e6;
    far.scaling = op::RopeScaling::yarn;
    far.factor = 4;
    far.original_context = 32;
    program.rope_tables = {op::make_rope(far, false), op::make_rope(near, false),
                           op::make_growth({.slope = 0.3, .every = 4, .offset = 1})};
    build();
    program.assign_buffers();
  }
  MixedModel(const MixedModel&) = delete;

  op::Program program;

 private:
  float uniform() { return float(int32_t(random_())) * 0x1p-31f; }  // -1 … 1

  uint32_t keep(const std::string& name, uint64_t rows, uint64_t columns, uint32_t type,
                std::vector<uint8_t> bytes) {
    bytes_.push_back(std::make_unique<std::vector<uint8_t>>(std::move(bytes)));
    return program.add_weight({name, type, rows, columns, *bytes_.back()});
  }
  /// Numbers around `middle`, in rows.
  uint32_t floats(const std::string& name, uint64_t rows, uint64_t columns, float scale,
                  float middle = 0) {
    std::vector<uint8_t> bytes(4 * rows * columns);
    for (size_t i = 0; i < bytes.size(); i += 4) {
      const float value = middle + scale * uniform();
      std::memcpy(&bytes[i], &value, 4);
    }
    return keep(name, rows, columns, 0, std::move(bytes));
  }
  uint32_t matrix(const std::string& name, uint64_t rows, uint64_t columns) {
    const float scale = 1.7f / std::sqrt(float(columns));
    if (plain_) return floats(name, rows, columns, scale);
    std::vector<uint8_t> bytes;
    for (uint64_t i = 0; i < rows * columns; ++i) {
      if (i % 32 == 0) {
        const uint16_t d = k_f32_to_f16(scale * (1.2f + uniform()) / 127.0f);
        bytes.push_back(uint8_t(d));
        bytes.push_back(uint8_t(d >> 8));
      }
      bytes.push_back(uint8_t(random_()));
    }
    return keep(name, rows, columns, 8, std::move(bytes));
  }

  uint32_t add(op::Parameters of, const std::string& name, std::vector<uint32_t> inputs,
               uint32_t weight = op::none, uint32_t bias = op::none) {
    const std::string blk = layer_ == op::none ? "" : "blk." + std::to_string(layer_) + ".";
    op::Operation made{.name = blk + name,
                       .of = of,
                       .inputs = std::move(inputs),
                       .weight = weight,
                       .bias = bias,
                       .layer = layer_};
    if (name == "out") made.role = op::Role::block_output;
    return program.append(made);
  }
  std::string tensor(const std::string& name) const {
    return (layer_ == op::none ? "" : "blk." + std::to_string(layer_) + ".") + name;
  }

  uint32_t matmul(const std::string& name, uint32_t x, uint32_t rows, float bias = 0) {
    const uint32_t weight = matrix(tensor(name + ".weight"), rows, program.values[x].width);
    const uint32_t added = bias == 0 ? op::none : floats(tensor(name + ".bias"), 1, rows, bias);
    return add(op::Matmul{}, name, {x}, weight, added);
  }
  uint32_t rms(const std::string& name, uint32_t x, uint32_t parts = 1, uint32_t columns = width) {
    return add(op::RmsNorm{1e-5f, parts}, name, {x},
               floats(tensor(name + ".weight"), 1, columns, 0.5f, 1.0f));
  }
  uint32_t layer_norm(const std::string& name, uint32_t x) {
    return add(op::LayerNorm{1e-5f}, name, {x},
               floats(tensor(name + ".weight"), 1, width, 0.5f, 1.0f),
               floats(tensor(name + ".bias"), 1, width, 0.5f));
  }
  uint32_t experts(const std::string& name, uint32_t x, uint32_t routing, uint32_t count,
                   uint32_t rows, uint32_t columns, bool bias) {
    const uint32_t weight = matrix(tensor(name + ".weight"), uint64_t(count) * rows, columns);
    return add(op::MatmulExperts{count}, name, {x, routing}, weight,
               bias ? floats(tensor(name + ".bias"), count, rows, 0.5f) : op::none);
  }
  op::Attend attend() const {
    return {.cache = layer_, .heads = heads, .scale = 1 / std::sqrt(float(dim))};
  }

  /// A window, sinks, norms per head, YaRN, a gate per head; softmax over all; a shared expert.
  uint32_t first(uint32_t x) {
    const uint32_t in = rms("attn_norm", x);
    const uint32_t q = matmul("q", in, heads * dim), k = matmul("k", in, kv_heads * dim);
    const uint32_t v = matmul("v", in, kv_heads * dim);
    const uint32_t q_norm = rms("q_norm", q, heads, heads * dim),
                   k_norm = rms("k_norm", k, kv_heads, dim);
    const uint32_t q_rope = add(op::Rope{0, heads}, "q_rope", {q_norm}),
                   k_rope = add(op::Rope{0, kv_heads}, "k_rope", {k_norm});
    add(op::KvStore{layer_}, "kv", {k_rope, v});
    op::Attend of = attend();
    of.window = window;
    const uint32_t kqv =
        add(of, "kqv", {q_rope}, floats(tensor("attn_sinks.weight"), 1, heads, 2.0f));
    const uint32_t gate = matmul("attn_gate", in, heads);
    const uint32_t gated = add(op::Gate{op::Activation::sigmoid}, "attn_gated", {gate, kqv});
    const uint32_t out = rms("attn_post_norm", matmul("attn_out", gated, width));
    const uint32_t middle = add(op::Add{}, "attn_residual", {x, out});
    const uint32_t normed = rms("ffn_norm", middle);
    const uint32_t routing = add(op::Route{.used = 2}, "routing", {matmul("router", normed, 8)});
    const uint32_t e_gate = experts("experts_gate", normed, routing, 8, expert, width, false);
    const uint32_t e_up = experts("experts_up", normed, routing, 8, expert, width, false);
    const uint32_t act = add(op::Gate{}, "experts_act", {e_gate, e_up});
    const uint32_t down = experts("experts_down", act, routing, 8, width, expert, false);
    const uint32_t mixed = add(op::MixExperts{1}, "experts", {down, routing});
    const uint32_t s_act =
        add(op::Gate{}, "shared_act",
            {matmul("shared_gate", normed, ffn), matmul("shared_up", normed, ffn)});
    const uint32_t s_down = matmul("shared_down", s_act, width);
    const uint32_t open = matmul("shared_router", normed, 1);
    const uint32_t shared = add(op::Gate{op::Activation::sigmoid}, "shared_gated", {open, s_down});
    const uint32_t sum = add(op::Add{}, "experts_sum", {mixed, shared});
    return add(op::Add{}, "out", {middle, sum});
  }

  /// No RoPE, a factor of the position, a soft cap, clamped values, biases, LayerNorm, no gate.
  uint32_t second(uint32_t x) {
    const uint32_t in = layer_norm("attn_norm", x);
    const uint32_t q = matmul("q", in, heads * dim, 0.5f),
                   k = matmul("k", in, kv_heads * dim, 0.5f);
    const uint32_t v = matmul("v", in, kv_heads * dim, 0.5f);
    const uint32_t v_clamped = add(op::Clamp{-0.8f, 0.7f}, "v_clamped", {v});
    const uint32_t q_scaled = add(op::PositionScale{2}, "q_scaled", {q});
    add(op::KvStore{layer_}, "kv", {k, v_clamped});
    op::Attend of = attend();
    of.soft_cap = 2;
    const uint32_t kqv = add(of, "kqv", {q_scaled});
    const uint32_t out = matmul("attn_out", kqv, width, 0.5f);
    const uint32_t middle = add(op::Add{}, "attn_residual", {x, out});
    const uint32_t normed = layer_norm("ffn_norm", middle);
    const uint32_t act =
        add(op::Activate{op::Activation::gelu_erf}, "act", {matmul("up", normed, ffn, 0.5f)});
    const uint32_t down = matmul("down", act, width, 0.5f);
    const uint32_t scaled = add(op::Scale{0.22f}, "ffn_scaled", {down});
    return add(op::Add{}, "out", {middle, scaled});
  }

  /// Chunks, values wider than keys, another table; sigmoids in groups with a bias; expert biases
  /// and factors.
  uint32_t third(uint32_t x) {
    const uint32_t in = rms("attn_norm", x);
    const uint32_t qkv = matmul("joined", in, heads * dim + kv_heads * (dim + 24));
    const uint32_t q = add(op::Slice{0, heads * dim, 1}, "q", {qkv});
    const uint32_t k = add(op::Slice{heads * dim, kv_heads * dim, 1}, "k", {qkv});
    const uint32_t v = add(op::Slice{(heads + kv_heads) * dim, kv_heads * 24, 1}, "v", {qkv});
    const uint32_t q_rope = add(op::Rope{1, heads}, "q_rope", {q}),
                   k_rope = add(op::Rope{1, kv_heads}, "k_rope", {k});
    add(op::KvStore{layer_}, "kv", {k_rope, v});
    op::Attend of = attend();
    of.window = chunk;
    of.chunked = true;
    const uint32_t kqv = add(of, "kqv", {q_rope});
    const uint32_t middle = add(op::Add{}, "attn_residual", {x, matmul("attn_out", kqv, width)});
    const uint32_t normed = rms("ffn_norm", middle);
    const op::Route router{.used = 4,
                           .groups = 4,
                           .used_groups = 2,
                           .by_two = 1,
                           .sigmoid = 1,
                           .renormalise = 1,
                           .scale = 2.5f};
    const uint32_t routing = add(router, "routing", {matmul("router", normed, 16)}, op::none,
                                 floats(tensor("router.bias"), 1, 16, 0.3f));
    const uint32_t e_gate = experts("experts_gate", normed, routing, 16, expert, width, true);
    const uint32_t e_up = experts("experts_up", normed, routing, 16, expert, width, true);
    const uint32_t act = add(op::Gate{op::Activation::silu_clamped}, "experts_act", {e_gate, e_up});
    const uint32_t down = experts("experts_down", act, routing, 16, width, expert, true);
    const uint32_t scaled = add(op::ScaleExperts{}, "experts_down_scaled", {down, routing},
                                floats(tensor("experts_down.scale"), 1, 16, 0.5f, 1.0f));
    const uint32_t mixed = add(op::MixExperts{1}, "experts", {scaled, routing});
    return add(op::Add{}, "out", {middle, mixed});
  }

  /// ALiBi, no RoPE, large values; a softmax of the chosen, whose weights meet the input; xIELU.
  uint32_t fourth(uint32_t x) {
    const uint32_t in = layer_norm("attn_norm", x);
    const uint32_t q = matmul("q", in, heads * dim), k = matmul("k", in, kv_heads * dim);
    const uint32_t v =
        add(op::Scale{1.0f}, "v", {matmul("v_unscaled", in, kv_heads * dim)}, op::none, large());
    add(op::KvStore{layer_}, "kv", {k, v});
    op::Attend of = attend();
    of.alibi = 8;
    const uint32_t kqv = add(of, "kqv", {q});
    const uint32_t calm = rms("kqv_norm", kqv, heads, dim);
    const uint32_t middle = add(op::Add{}, "attn_residual", {x, matmul("attn_out", calm, width)});
    const uint32_t normed = layer_norm("ffn_norm", middle);
    const uint32_t routing =
        add(op::Route{.used = 3, .of_chosen = 1}, "routing", {matmul("router", normed, 5)});
    const uint32_t spread = add(op::SpreadExperts{}, "experts_in", {normed, routing});
    const uint32_t up = experts("experts_up", spread, routing, 5, expert, width, false);
    const uint32_t act = add(op::Xielu{0.8f, 1.3f, 0.5f, -1e-6f}, "experts_act", {up});
    const uint32_t down = experts("experts_down", act, routing, 5, width, expert, false);
    const uint32_t mixed = add(op::MixExperts{0}, "experts", {down, routing});
    return add(op::Add{}, "out", {middle, mixed});
  }

  /// Of one channel, so large that a sum of some of them is beyond f16.
  uint32_t large() {
    const uint32_t bias = floats(tensor("v.bias"), 1, kv_heads * dim, 0.5f);
    const float value = 30000;
    std::memcpy(bytes_.back()->data() + 4 * 5, &value, 4);
    return bias;
  }

  void build() {
    uint32_t x = add(op::Embed{}, "embd", {}, matrix("token_embd.weight", 40, width));
    x = add(op::Scale{8.0f}, "embd_scaled", {x});
    const uint32_t of_position = add(op::Embed{.of_position = true}, "positions", {},
                                     floats("position_embd.weight", 160, width, 0.5f));
    x = add(op::Add{}, "embd_positioned", {x, of_position});
    x = layer_norm("embd_norm", x);
    layer_ = 0;
    x = first(x);
    layer_ = 1;
    x = second(x);
    layer_ = 2;
    x = third(x);
    layer_ = 3;
    x = fourth(x);
    layer_ = op::none;
    x = add(op::SelectRows{}, "out_selected", {x});
    x = layer_norm("out_norm", x);
    x = matmul("logits", x, program.vocabulary);
    x = add(op::Scale{0.5f}, "logits_scaled", {x});
    add(op::SoftCap{3}, "logits_capped", {x});
  }

  bool plain_;
  uint32_t layer_ = op::none;
  std::mt19937 random_;
  std::vector<std::unique_ptr<std::vector<uint8_t>>> bytes_;
};

}  // namespace assay::tests
