// A small model of random weights, as a program: what a llama file becomes, without a file.
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

struct Shape {
  uint32_t vocabulary = 40, width = 64, layers = 2, heads = 4, kv_heads = 2, head_dim = 16,
           ffn_width = 96;
  uint32_t type = 8;  ///< of the matrices: 0 F32, 1 F16, 8 Q8_0
  bool adjacent = true, bias = false;
};

/// Owns the bytes of the program's weights.
class TinyModel {
 public:
  explicit TinyModel(const Shape& shape, uint32_t seed = 1) : shape_(shape), random_(seed) {
    program.vocabulary = shape.vocabulary, program.width = shape.width,
    program.layers = shape.layers;
    program.caches.assign(shape.layers, {shape.kv_heads, shape.head_dim, shape.head_dim});
    op::RopeParameters rope;
    rope.dimensions = shape.head_dim;
    program.rope_tables = {op::make_rope(rope, shape.adjacent)};
    build();
    program.assign_buffers();
  }
  TinyModel(const TinyModel&) = delete;

  op::Program program;

 private:
  float uniform() { return float(int32_t(random_())) * 0x1p-31f; }  // -1 … 1

  uint32_t weight(const std::string& name, uint64_t rows, uint64_t columns, uint32_t type,
                  float scale, float middle = 0) {
    bytes_.push_back(std::make_unique<std::vector<uint8_t>>());
    std::vector<uint8_t>& bytes = *bytes_.back();
    const auto put16 = [&](uint16_t v) {
      bytes.push_back(uint8_t(v)), bytes.push_back(uint8_t(v >> 8));
    };
    for (uint64_t i = 0; i < rows * columns; ++i) {
      if (type == 8) {
        if (i % 32 == 0) put16(k_f32_to_f16(scale * (1.2f + uniform()) / 127.0f));
        bytes.push_back(uint8_t(random_()));
        continue;
      }
      const float value = middle + scale * uniform();
      if (type == 1) {
        put16(k_f32_to_f16(value));
      } else {
        bytes.resize(bytes.size() + 4);
        std::memcpy(&bytes[bytes.size() - 4], &value, 4);
      }
    }
    return program.add_weight({name, type, rows, columns, bytes});
  }

  uint32_t operation(op::Parameters of, const std::string& name, std::vector<uint32_t> inputs,
                     uint32_t layer, uint32_t weight_index = op::none) {
    op::Operation made{.name = name,
                       .of = of,
                       .inputs = std::move(inputs),
                       .weight = weight_index,
                       .layer = layer};
    if (made.is<op::Matmul>() && shape_.bias)
      made.bias = weight(name + ".bias", 1, program.weights[weight_index].rows, 0, 0.5f);
    if (name.ends_with(".out")) made.role = op::Role::block_output;
    return program.append(made);
  }

  uint32_t matmul(const std::string& name, uint32_t input, uint32_t rows, uint32_t layer) {
    const uint32_t columns = program.values[input].width;
    const uint32_t index =
        weight(name + ".weight", rows, columns, shape_.type, 1.7f / std::sqrt(float(columns)));
    return operation(op::Matmul{}, name, {input}, layer, index);
  }

  uint32_t norm(const std::string& name, uint32_t input, uint32_t layer) {
    const uint32_t index = weight(name + ".weight", 1, shape_.width, 0, 0.5f, 1.0f);
    return operation(op::RmsNorm{1e-5f}, name, {input}, layer, index);
  }

  uint32_t block(uint32_t x, uint32_t layer) {
    const std::string blk = std::string("blk.").append(std::to_string(layer)).append(".");
    const uint32_t heads = shape_.heads, kv_heads = shape_.kv_heads, dim = shape_.head_dim;
    const uint32_t normed = norm(blk + "attn_norm", x, layer);
    const uint32_t q = matmul(blk + "q", normed, heads * dim, layer);
    const uint32_t k = matmul(blk + "k", normed, kv_heads * dim, layer);
    const uint32_t v = matmul(blk + "v", normed, kv_heads * dim, layer);
    const uint32_t q_rope = operation(op::Rope{0, heads}, blk + "q_rope", {q}, layer);
    const uint32_t k_rope = operation(op::Rope{0, kv_heads}, blk + "k_rope", {k}, layer);
    operation(op::KvStore{layer}, blk + "kv", {k_rope, v}, layer);
    const uint32_t kqv = operation(op::Attend{layer, heads, 1.0f / std::sqrt(float(dim))},
                                   blk + "kqv", {q_rope}, layer);
    const uint32_t out = matmul(blk + "attn_out", kqv, shape_.width, layer);
    const uint32_t middle = operation(op::Add{}, blk + "attn_residual", {x, out}, layer);
    const uint32_t ffn_in = norm(blk + "ffn_norm", middle, layer);
    const uint32_t gate = matmul(blk + "gate", ffn_in, shape_.ffn_width, layer);
    const uint32_t up = matmul(blk + "up", ffn_in, shape_.ffn_width, layer);
    const uint32_t act = operation(op::Gate{}, blk + "act", {gate, up}, layer);
    const uint32_t down = matmul(blk + "down", act, shape_.width, layer);
    return operation(op::Add{}, blk + "out", {middle, down}, layer);
  }

  void build() {
    const uint32_t embedding =
        weight("token_embd.weight", shape_.vocabulary, shape_.width, shape_.type, 1.0f);
    uint32_t x = operation(op::Embed{}, "embd", {}, op::none, embedding);
    for (uint32_t layer = 0; layer < shape_.layers; ++layer) x = block(x, layer);
    x = operation(op::SelectRows{}, "out_selected", {x}, op::none);
    x = norm("out_norm", x, op::none);
    matmul("logits", x, shape_.vocabulary, op::none);
  }

  Shape shape_;
  std::mt19937 random_;
  std::vector<std::unique_ptr<std::vector<uint8_t>>> bytes_;
};

/// Owns what a Step views. Tokens follow one another in one sequence from `position`; all rows are
/// selected.
struct Tokens {
  std::vector<int32_t> tokens;
  std::vector<uint32_t> positions, sequences, selected;

  Tokens(std::vector<int32_t> ids, uint32_t position = 0, uint32_t sequence = 0) {
    append(ids, position, sequence);
  }
  void append(const std::vector<int32_t>& ids, uint32_t position, uint32_t sequence) {
    for (int32_t id : ids) {
      selected.push_back(uint32_t(tokens.size()));
      tokens.push_back(id);
      positions.push_back(position++);
      sequences.push_back(sequence);
    }
  }
  op::Step step() const { return {tokens, positions, sequences, selected}; }
};

/// `count` token ids below `vocabulary`.
inline std::vector<int32_t> token_ids(uint32_t count, uint32_t vocabulary, uint32_t seed = 5) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = int32_t(random() % vocabulary);
  return ids;
}

}  // namespace assay::tests
