// A small file of each architecture with random weights: what sets it apart is all there.
#pragma once

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "gguf/file.h"
#include "gguf/writer.h"
#include "lang/lang.h"
#include "model/model.h"

namespace assay::testing {

/// qwen2: biases, tied. qwen3: norms per head, heads wider than the model. phi3: fused matrices,
/// RoPE turns 24 of 32 lanes, long factors. Q8_0 and F16; 3 layers, 4 heads on 2 KV heads.
class ArchitectureFile {
 public:
  explicit ArchitectureFile(const std::string& architecture, uint32_t vocabulary = 300)
      : architecture_(architecture), vocabulary_(vocabulary) {
    const bool qwen3 = architecture == "qwen3", phi3 = architecture == "phi3";
    const uint32_t head = qwen3 ? 64 : 32;
    writer_.add_string("general.architecture", architecture);
    integer("block_count", 3);
    integer("context_length", 256);
    integer("embedding_length", width);
    integer("feed_forward_length", ffn);
    integer("attention.head_count", 4);
    integer("attention.head_count_kv", 2);
    integer("attention.key_length", head);
    integer("attention.value_length", head);
    real("attention.layer_norm_rms_epsilon", 1e-5f);
    matrix("token_embd.weight", vocabulary, width, 1.0f, f16);
    for (const std::string b : {"blk.0.", "blk.1.", "blk.2."}) {
      norm(b + "attn_norm.weight", width);
      if (phi3) {
        matrix(b + "attn_qkv.weight", 8 * head, width, 1.5f, q8_0);
      } else {
        matrix(b + "attn_q.weight", 4 * head, width, 1.5f, q8_0);
        matrix(b + "attn_k.weight", 2 * head, width, 1.5f, f16);
        matrix(b + "attn_v.weight", 2 * head, width, 1.0f, q8_0);
      }
      if (qwen3)
        for (const char* name : {"attn_q_norm.weight", "attn_k_norm.weight"}) norm(b + name, head);
      if (architecture == "qwen2") {
        vector(b + "attn_q.bias", 4 * head, 0.0f, 0.5f);
        vector(b + "attn_k.bias", 2 * head, 0.0f, 0.5f);
        vector(b + "attn_v.bias", 2 * head, 0.0f, 0.5f);
      }
      matrix(b + "attn_output.weight", width, 4 * head, 1.0f, q8_0);
      norm(b + "ffn_norm.weight", width);
      if (!phi3) matrix(b + "ffn_gate.weight", ffn, width, 1.0f, q8_0);
      matrix(b + "ffn_up.weight", phi3 ? 2 * ffn : ffn, width, 1.0f, q8_0);
      matrix(b + "ffn_down.weight", width, ffn, 1.0f, f16);
    }
    norm("output_norm.weight", width);
    if (architecture != "qwen2") matrix("output.weight", vocabulary, width, 1.0f, q8_0);
    if (!phi3) return;
    integer("rope.dimension_count", 24);
    integer("rope.scaling.original_context_length", 64);
    real("rope.scaling.attn_factor", 1.1875f);
    vector("rope_factors_short.weight", 12, 1.25f, 0.25f);
    vector("rope_factors_long.weight", 12, 4.0f, 3.0f);
  }

  const gguf::Writer& writer() const { return writer_; }
  std::vector<uint8_t> bytes() const { return writer_.bytes(); }

 private:
  static constexpr uint32_t width = 128, ffn = 224, f32 = 0, f16 = 1, q8_0 = 8;

  void integer(const std::string& key, uint32_t value) {
    writer_.add_u32(architecture_ + "." + key, value);
  }
  void real(const std::string& key, float value) {
    writer_.add_f32(architecture_ + "." + key, value);
  }
  /// In [-1, 1): the high bits of splitmix64.
  float uniform() {
    uint64_t z = seed_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return float(int64_t((z ^ (z >> 31)) >> 40) - (1 << 23)) * 0x1p-23f;
  }
  void add(const std::string& name, uint32_t type, std::vector<uint64_t> dims,
           std::vector<uint8_t> data) {
    writer_.add_tensor(name, type, std::move(dims), [data = std::move(data)] { return data; });
  }
  void vector(const std::string& name, uint64_t n, float middle, float spread) {
    std::vector<uint8_t> data(4 * n);
    for (uint64_t i = 0; i < n; ++i) {
      const float value = middle + spread * uniform();
      std::memcpy(&data[4 * i], &value, 4);
    }
    add(name, f32, {n}, std::move(data));
  }
  void norm(const std::string& name, uint64_t n) { vector(name, n, 1.0f, 0.25f); }
  /// A row times a vector of unit root mean square gives about `gain`.
  void matrix(const std::string& name, uint64_t rows, uint64_t columns, float gain, uint32_t type) {
    const float bound =
        name == "token_embd.weight" ? 1.7f : gain * std::sqrt(3.0f / float(columns));
    std::vector<uint8_t> data;
    const auto half = [&](float value) {
      const uint16_t bits = k_f32_to_f16(value);
      data.insert(data.end(), {uint8_t(bits), uint8_t(bits >> 8)});
    };
    for (uint64_t i = 0; i < rows * columns; ++i) {
      if (type == q8_0 && i % 32 == 0) half(bound / 127 * (1 + 0.25f * uniform()));
      if (type == q8_0)
        data.push_back(uint8_t(int8_t(127 * uniform())));
      else
        half(bound * uniform());
    }
    add(name, type, {columns, rows}, std::move(data));
  }

  std::string architecture_;
  uint32_t vocabulary_;
  uint64_t seed_ = 2026;
  gguf::Writer writer_;
};

/// Its program; the file's bytes are kept.
struct ArchitectureProgram {
  std::vector<uint8_t> bytes;
  gguf::File file;
  op::Program program;

  explicit ArchitectureProgram(const std::string& architecture, uint32_t vocabulary = 300,
                               uint32_t context = 0)
      : bytes(ArchitectureFile(architecture, vocabulary).bytes()),
        file(checked(gguf::File::parse(bytes, architecture))),
        program(checked(model::build(file, context))) {}
  ArchitectureProgram(const ArchitectureProgram&) = delete;

 private:
  template <class T>
  static T checked(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().message);
    return std::move(*result);
  }
};

}  // namespace assay::testing
