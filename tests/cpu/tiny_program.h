// A small llama of random weights as a program, in any format, and how the tests run it.
#pragma once

#include <deque>

#include "cpu/executor.h"
#include "data.h"
#include "op/rope.h"

namespace assay::tests {

inline constexpr uint32_t mixed = 99;  ///< every matrix in another format
inline constexpr uint32_t vocabulary = 67;

/// Each format alone, and all of them mixed.
inline std::vector<uint32_t> formats_and_mixed() {
  std::vector<uint32_t> types(all_formats.begin(), all_formats.end());
  types.push_back(mixed);
  return types;
}

/// Random blocks whose weights have a root mean square of about `size`.
inline Matrix model_matrix(uint32_t type, uint64_t rows, uint64_t columns, float size,
                           Random& random) {
  Matrix matrix = random_matrix(type, rows, columns, random);
  const uint32_t step = quant::info(type).block_bytes;
  const Spread random_block = spread(type);
  for (size_t at = 0; at < matrix.bytes.size(); at += step) {
    const float v = size * (1 + random.uniform() / 4);
    const float uniform = size * 1.7f * random.uniform();  // root mean square 1.7/√3
    const uint32_t bits = k_bits(uniform);
    const uint16_t high = uint16_t(bits >> 16), half = k_f32_to_f16(uniform);
    if (type == quant::F32::id) std::memcpy(&matrix.bytes[at], &bits, 4);
    if (type == quant::BF16::id) std::memcpy(&matrix.bytes[at], &high, 2);
    if (type == quant::F16::id) std::memcpy(&matrix.bytes[at], &half, 2);
    put_fields(
        type, &matrix.bytes[at], [&] { return v / float(random_block.rms); },
        [&] { return float(random_block.minimum / random_block.rms) * v; });
  }
  return matrix;
}

/// Of a TinyProgram; 0: the least that the format allows.
struct TinyShape {
  uint32_t width = 0, head_dim = 0, ffn = 0;
  bool scaled = false;  ///< the second norm's rows times 0.75
};

/// Two layers, 4 heads on 2 KV heads, biases on Q, K and V.
struct TinyProgram {
  op::Program program;

  explicit TinyProgram(uint32_t type, uint32_t seed = 1, const TinyShape& shape = {})
      : type_(type), scaled_(shape.scaled), random_(seed) {
    const bool wide = type == mixed || quant::info(type).block_size > 32;
    width_ = shape.width ? shape.width : wide ? 256 : 64;
    dim_ = shape.head_dim ? shape.head_dim : width_ / 4;
    const uint32_t ffn = shape.ffn ? shape.ffn : wide ? 512 : 96;
    program.vocabulary = vocabulary, program.width = width_, program.layers = 2;
    program.caches.assign(2, {2, dim_, dim_});
    op::RopeParameters rope;
    rope.dimensions = dim_;
    program.rope_tables = {op::make_rope(rope, true)};
    const uint32_t table = weight("token_embd", vocabulary, width_, 1.0f);
    uint32_t x = add(op::Embed{}, "embd", {}, op::none, table);
    for (uint32_t layer = 0; layer < 2; ++layer) x = block(x, layer, ffn);
    x = add(op::SelectRows{}, "out_selected", {x}, op::none);
    x = norm("out_norm", x, op::none);
    matmul("logits", x, vocabulary, op::none, false);
    program.assign_buffers();
  }
  TinyProgram(const TinyProgram&) = delete;

 private:
  uint32_t weight(const std::string& name, uint64_t rows, uint64_t columns, float size) {
    const uint32_t type =
        type_ == mixed ? all_formats[matrices_.size() % all_formats.size()] : type_;
    matrices_.push_back(model_matrix(type, rows, columns, size, random_));
    matrices_.back().weight.name = name;
    return program.add_weight(matrices_.back().weight);
  }
  uint32_t vector(const std::string& name, uint64_t n, float size, float middle) {
    std::vector<uint8_t> bytes(4 * n);
    for (uint64_t i = 0; i < n; ++i) {
      const float value = middle + size * random_.uniform();
      std::memcpy(&bytes[4 * i], &value, 4);
    }
    vectors_.emplace_back(0, 1, n, std::move(bytes));
    vectors_.back().weight.name = name;
    return program.add_weight(vectors_.back().weight);
  }
  uint32_t add(op::Parameters of, const std::string& name, std::vector<uint32_t> inputs,
               uint32_t layer, uint32_t weight = op::none, uint32_t bias = op::none) {
    return program.append({.name = name,
                           .of = of,
                           .inputs = std::move(inputs),
                           .weight = weight,
                           .bias = bias,
                           .layer = layer});
  }
  uint32_t matmul(const std::string& name, uint32_t x, uint32_t rows, uint32_t layer, bool bias) {
    const uint32_t columns = program.values[x].width;
    const uint32_t w = weight(name + ".weight", rows, columns, 1 / std::sqrt(float(columns)));
    const uint32_t b = bias ? vector(name + ".bias", rows, 0.1f, 0) : op::none;
    return add(op::Matmul{}, name, {x}, layer, w, b);
  }
  uint32_t norm(const std::string& name, uint32_t x, uint32_t layer) {
    return add(op::RmsNorm{1e-5f}, name, {x}, layer, vector(name + ".weight", width_, 0.3f, 1));
  }
  uint32_t block(uint32_t x, uint32_t layer, uint32_t ffn) {
    const std::string b = "blk." + std::to_string(layer) + ".";
    const uint32_t normed = norm(b + "attn_norm", x, layer);
    const uint32_t q = matmul(b + "q", normed, 4 * dim_, layer, true);
    const uint32_t k = matmul(b + "k", normed, 2 * dim_, layer, true);
    const uint32_t v = matmul(b + "v", normed, 2 * dim_, layer, true);
    const uint32_t q_rope = add(op::Rope{0, 4}, b + "q_rope", {q}, layer);
    const uint32_t k_rope = add(op::Rope{0, 2}, b + "k_rope", {k}, layer);
    add(op::KvStore{layer}, b + "kv", {k_rope, v}, layer);
    const uint32_t kqv =
        add(op::Attend{layer, 4, 1 / std::sqrt(float(dim_))}, b + "kqv", {q_rope}, layer);
    const uint32_t out = matmul(b + "attn_out", kqv, width_, layer, false);
    const uint32_t middle = add(op::Add{}, b + "attn_residual", {x, out}, layer);
    uint32_t ffn_in = norm(b + "ffn_norm", middle, layer);
    if (scaled_) ffn_in = add(op::Scale{0.75f}, b + "ffn_scaled", {ffn_in}, layer);
    const uint32_t gate = matmul(b + "gate", ffn_in, ffn, layer, false);
    const uint32_t up = matmul(b + "up", ffn_in, ffn, layer, false);
    const uint32_t act = add(op::Gate{}, b + "act", {gate, up}, layer);
    const uint32_t down = matmul(b + "down", act, width_, layer, false);
    return add(op::Add{}, b + "out", {middle, down}, layer);
  }

  uint32_t type_, width_, dim_;
  bool scaled_;
  Random random_;
  std::deque<Matrix> matrices_, vectors_;  // a deque: the weights' views stay valid
};

/// One step's tokens; every row is selected unless said otherwise.
struct Tokens {
  std::vector<int32_t> ids;
  std::vector<uint32_t> positions, sequences, selected;

  void add(int32_t id, uint32_t position, uint32_t sequence, bool wanted = true) {
    if (wanted) selected.push_back(uint32_t(ids.size()));
    ids.push_back(id);
    positions.push_back(position);
    sequences.push_back(sequence);
  }
  op::Step step() const { return {ids, positions, sequences, selected}; }
};

/// Token `i` of a sequence: any fixed function.
inline int32_t token(uint32_t i, uint32_t sequence = 0) {
  return int32_t((i * i * 7 + i * 13 + sequence * 29 + 5) % vocabulary);
}

inline op::ExecutorOptions options_with(uint32_t threads, const std::string& isa = "") {
  op::ExecutorOptions options;
  options.threads = threads;
  options.context = 160;
  options.sequences = 3;
  options.isa = isa;
  return options;
}

inline std::unique_ptr<op::Executor> made(const op::Program& program,
                                          const op::ExecutorOptions& options) {
  auto executor = cpu::make_executor(program, options);
  if (!executor) throw std::runtime_error(executor.error().message);
  return std::move(*executor);
}

inline std::vector<float> logits_of(op::Executor& executor, const Tokens& tokens,
                                    const op::Sink& sink = {}) {
  const auto logits = executor.run(tokens.step(), sink);
  return {logits.begin(), logits.end()};
}

/// Logits (count, vocabulary) of one sequence run in pieces of the given lengths.
inline std::vector<float> run_cut(op::Executor& executor, const std::vector<uint32_t>& pieces,
                                  uint32_t sequence = 0) {
  std::vector<float> all;
  uint32_t position = 0;
  for (uint32_t piece : pieces) {
    Tokens tokens;
    for (uint32_t i = 0; i < piece; ++i, ++position)
      tokens.add(token(position, sequence), position, sequence);
    const auto logits = logits_of(executor, tokens);
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

}  // namespace assay::tests
