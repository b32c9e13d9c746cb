// Small files of each architecture made in memory, right unless a test changes one thing.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "gguf/file.h"
#include "gguf/types.h"
#include "gguf/writer.h"
#include "model/model.h"

namespace assay::tests {

struct TensorSpec {
  uint32_t type = 0;
  std::vector<uint64_t> dims;   // dims[0] is the row length
  std::vector<float> values{};  // of an F32 tensor; empty: zeros
};

/// What a file holds. Two layers, width 64, 4 heads on 2 KV heads, 96 wide FFN, 40 tokens.
struct SmallFile {
  using Value = std::variant<uint32_t, float, std::string, bool, std::vector<int32_t>,
                             std::vector<float>, std::vector<std::string>>;
  std::string architecture;
  std::map<std::string, Value> keys;
  std::map<std::string, TensorSpec> tensors;
  std::vector<std::string> tokens;  // tokenizer.ggml.tokens, where not empty

  explicit SmallFile(std::string name = "llama") : architecture(std::move(name)) {
    keys["general.architecture"] = architecture;
    set("block_count", 2u);
    set("embedding_length", 64u);
    set("feed_forward_length", 96u);
    set("attention.head_count", 4u);
    set("attention.head_count_kv", 2u);
    set("context_length", 256u);
    set("attention.layer_norm_rms_epsilon", 1e-5f);
    tensors["token_embd.weight"] = {8, {64, 40}};
    tensors["output_norm.weight"] = {0, {64}};
    for (int layer = 0; layer < 2; ++layer) {
      const std::string blk = "blk." + std::to_string(layer) + ".";
      tensors[blk + "attn_norm.weight"] = tensors[blk + "ffn_norm.weight"] = {0, {64}};
      tensors[blk + "attn_q.weight"] = tensors[blk + "attn_output.weight"] = {8, {64, 64}};
      tensors[blk + "attn_k.weight"] = tensors[blk + "attn_v.weight"] = {8, {64, 32}};
      tensors[blk + "ffn_gate.weight"] = tensors[blk + "ffn_up.weight"] = {8, {64, 96}};
      tensors[blk + "ffn_down.weight"] = {8, {96, 64}};
      if (architecture == "qwen3")
        tensors[blk + "attn_q_norm.weight"] = tensors[blk + "attn_k_norm.weight"] = {0, {16}};
      if (architecture != "phi3") continue;
      tensors.erase(blk + "ffn_gate.weight");
      tensors[blk + "ffn_up.weight"] = {8, {64, 192}};
      fuse_attention(layer);
    }
  }
  void set(const std::string& key, Value value) {
    keys[architecture + "." + key] = std::move(value);
  }
  /// attn_qkv in the place of attn_q, attn_k and attn_v.
  void fuse_attention(int layer) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    for (const char* name : {"attn_q.weight", "attn_k.weight", "attn_v.weight"})
      tensors.erase(blk + name);
    tensors[blk + "attn_qkv.weight"] = {8, {64, 128}};
  }

  std::vector<uint8_t> bytes() const {
    gguf::Writer writer;
    for (const auto& [key, value] : keys) {
      if (const auto* number = std::get_if<uint32_t>(&value)) writer.add_u32(key, *number);
      if (const auto* real = std::get_if<float>(&value)) writer.add_f32(key, *real);
      if (const auto* text = std::get_if<std::string>(&value)) writer.add_string(key, *text);
      if (const auto* truth = std::get_if<bool>(&value)) writer.add_bool(key, *truth);
      if (const auto* list = std::get_if<std::vector<int32_t>>(&value))
        writer.add_i32_array(key, *list);
      if (const auto* list = std::get_if<std::vector<float>>(&value))
        writer.add_f32_array(key, *list);
      if (const auto* list = std::get_if<std::vector<std::string>>(&value))
        writer.add_string_array(key, *list);
    }
    if (!tokens.empty()) writer.add_string_array("tokenizer.ggml.tokens", tokens);
    for (const auto& [name, tensor] : tensors)
      writer.add_tensor(name, tensor.type, tensor.dims, [&tensor = tensor] {
        const auto info = gguf::type_info(tensor.type);
        uint64_t elements = 1;
        for (uint64_t dim : tensor.dims) elements *= dim;
        std::vector<uint8_t> data(elements / info->block_size * info->block_bytes, 0);
        if (!tensor.values.empty()) std::memcpy(data.data(), tensor.values.data(), data.size());
        return data;
      });
    return writer.bytes();
  }
};

/// A built program with the bytes that it views.
struct Built {
  std::vector<uint8_t> bytes;
  std::optional<gguf::File> file;
  std::optional<op::Program> program;
  std::string error;

  explicit Built(const SmallFile& small, uint32_t context = 0) : bytes(small.bytes()) {
    auto parsed = gguf::File::parse(bytes, "small.gguf");
    if (!parsed) {
      ADD_FAILURE() << "the file itself is refused: " << parsed.error().message;
      return;
    }
    file.emplace(std::move(*parsed));
    auto built = model::build(*file, context);
    if (built)
      program.emplace(std::move(*built));
    else
      error = built.error().message;
  }
};

/// The operation of this name, or null.
inline const op::Operation* find(const op::Program& program, const std::string& name) {
  for (const op::Operation& operation : program.operations)
    if (operation.name == name) return &operation;
  return nullptr;
}

/// The name of an operation's weight; of its bias, where `bias`.
inline std::string weight_of(const op::Program& program, const std::string& name,
                             bool bias = false) {
  const op::Operation* operation = find(program, name);
  const uint32_t weight = !operation ? op::none : bias ? operation->bias : operation->weight;
  return weight == op::none ? "" : program.weights[weight].name;
}

/// The file is refused by one sentence that holds every one of `parts`.
inline void expect_refused(const SmallFile& small, const std::vector<std::string>& parts,
                           uint32_t context = 0) {
  const Built built(small, context);
  ASSERT_FALSE(built.program) << "not refused; wanted: " << testing::PrintToString(parts);
  for (const std::string& part : parts)
    EXPECT_NE(built.error.find(part), std::string::npos)
        << "'" << part << "' is not in: " << built.error;
  EXPECT_EQ(built.error.find('\n'), std::string::npos) << built.error;
}

}  // namespace assay::tests
