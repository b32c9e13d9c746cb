// A small Hugging Face folder on disk, right unless a test changes one thing.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/mix64.h"
#include "convert/convert.h"
#include "gguf/file.h"
#include "quant/encode.h"
#include "quant/formats.h"

namespace assay::tests {

/// A tensor under its Hugging Face name.
struct HubTensor {
  std::vector<uint64_t> shape;
  std::vector<float> values;
  std::string dtype = "F32";

  std::vector<uint8_t> bytes() const {
    if (dtype == "U8") return {values.begin(), values.end()};
    const uint32_t type = dtype == "F16"    ? quant::F16::id
                          : dtype == "BF16" ? quant::BF16::id
                                            : quant::F32::id;
    std::vector<uint8_t> out(values.size() * quant::info(type).block_bytes);
    quant::encode_row(type, values, out);
    return out;
  }
};

/// Two layers, width 64, 4 heads of 16 on 2 KV heads, 96 wide FFN, 40 tokens: a llama.
struct HubFolder {
  std::filesystem::path path;
  nlohmann::ordered_json config;
  std::map<std::string, HubTensor> tensors;
  std::map<std::string, std::string> files;  // texts beside config.json

  explicit HubFolder(const std::string& type = "llama", const std::string& name = "") {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "assay-convert-XXXXXX").string();
    root_ = mkdtemp(pattern.data());
    path = root_ / (name.empty() ? "model" : name);
    std::filesystem::create_directory(path);
    const std::map<std::string, std::string> classes = {
        {"llama", "LlamaForCausalLM"}, {"mistral", "MistralForCausalLM"},
        {"qwen2", "Qwen2ForCausalLM"}, {"qwen3", "Qwen3ForCausalLM"},
        {"phi3", "Phi3ForCausalLM"},   {"olmo2", "Olmo2ForCausalLM"}};
    config = {{"architectures", {classes.at(type)}},
              {"model_type", type},
              {"hidden_size", 64},
              {"num_hidden_layers", 2},
              {"num_attention_heads", 4},
              {"num_key_value_heads", 2},
              {"intermediate_size", 96},
              {"max_position_embeddings", 256},
              {"vocab_size", 40},
              {"rms_norm_eps", 1e-5},
              {"hidden_act", "silu"},
              {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 10000.0}}},
              {"tie_word_embeddings", false}};
    add("model.embed_tokens.weight", {40, 64});
    add("lm_head.weight", {40, 64});
    add("model.norm.weight", {64});
    for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
      add(layer + "input_layernorm.weight", {64});
      add(layer + "post_attention_layernorm.weight", {64});
      add(layer + "self_attn.o_proj.weight", {64, 64});
      add(layer + "mlp.down_proj.weight", {64, 96});
      if (type == "phi3") {
        add(layer + "self_attn.qkv_proj.weight", {128, 64});
        add(layer + "mlp.gate_up_proj.weight", {192, 64});
        continue;
      }
      add(layer + "self_attn.q_proj.weight", {64, 64});
      add(layer + "self_attn.k_proj.weight", {32, 64});
      add(layer + "self_attn.v_proj.weight", {32, 64});
      add(layer + "mlp.gate_proj.weight", {96, 64});
      add(layer + "mlp.up_proj.weight", {96, 64});
      if (type == "qwen3")
        for (const char* norm : {"self_attn.q_norm.weight", "self_attn.k_norm.weight"})
          add(layer + norm, {16});
    }
  }
  HubFolder(const HubFolder&) = delete;
  ~HubFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  /// Values in [-1, 1) that f16 and bf16 hold exactly; of bytes 0 … 127.
  void add(const std::string& name, std::vector<uint64_t> shape, const std::string& dtype = "F32") {
    uint64_t count = 1;
    for (const uint64_t dimension : shape) count *= dimension;
    HubTensor tensor{std::move(shape), std::vector<float>(count), dtype};
    for (float& value : tensor.values) value = float(int(splitmix64(state_) >> 57) - 64) / 64;
    if (dtype == "U8")
      for (float& value : tensor.values) value = 64 * value + 64;
    tensors[name] = std::move(tensor);
  }

  /// The bytes of a safetensors file with these tensors.
  static std::string safetensors(const std::map<std::string, HubTensor>& all) {
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    std::string data;
    for (const auto& [name, tensor] : all) {
      const auto bytes = tensor.bytes();
      header[name] = {{"dtype", tensor.dtype},
                      {"shape", tensor.shape},
                      {"data_offsets", {data.size(), data.size() + bytes.size()}}};
      data.append(bytes.begin(), bytes.end());
    }
    const std::string text = header.dump();
    std::string out;
    for (int i = 0; i < 8; ++i) out += char(uint8_t(text.size() >> (8 * i)));
    return out + text + data;
  }

  void put(const std::string& name, const std::string& bytes) const {
    std::ofstream(path / name, std::ios::binary) << bytes;
  }
  /// config.json and the other texts.
  void write_texts() const {
    put("config.json", config.dump());
    for (const auto& [name, text] : files) put(name, text);
  }
  void write() const {
    write_texts();
    put("model.safetensors", safetensors(tensors));
  }
  /// In two parts, by the first letter after the layer's number; returns the index.
  nlohmann::ordered_json write_parts() const {
    write_texts();
    std::map<std::string, HubTensor> parts[2];
    nlohmann::ordered_json map;
    for (const auto& [name, tensor] : tensors) {
      const int part = name.find("mlp") != name.npos;
      parts[part][name] = tensor;
      map[name] = part_name(part);
    }
    for (int part : {0, 1}) put(part_name(part), safetensors(parts[part]));
    const nlohmann::ordered_json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", map}};
    put("model.safetensors.index.json", index.dump());
    return index;
  }
  static std::string part_name(int part) {
    return "model-0000" + std::to_string(part + 1) + "-of-00002.safetensors";
  }

  std::string output() const { return (root_ / "out.gguf").string(); }
  Result<convert::Converted> convert(std::optional<uint32_t> type = {}) const {
    return convert::convert(path.string(), output(), {type, {}});
  }

 private:
  std::filesystem::path root_;
  uint64_t state_ = 2026;
};

/// The converted file. Fails the test where the folder is refused.
inline std::optional<gguf::File> converted(const HubFolder& folder,
                                           std::optional<uint32_t> type = {}) {
  const auto made = folder.convert(type);
  if (!made) {
    ADD_FAILURE() << "refused: " << made.error().message;
    return {};
  }
  auto file = gguf::File::open(folder.output());
  if (!file) {
    ADD_FAILURE() << file.error().message;
    return {};
  }
  return std::move(*file);
}

/// A tensor's values.
inline std::vector<float> values_of(const gguf::File& file, const std::string& name) {
  const gguf::Tensor* tensor = file.find_tensor(name);
  if (!tensor) {
    ADD_FAILURE() << name << " is missing";
    return {};
  }
  std::vector<float> values(tensor->elements());
  EXPECT_TRUE(quant::decode_row(tensor->type, tensor->data, values));
  return values;
}

/// The folder is refused by one sentence that holds all of `parts`, and nothing is left behind.
inline void expect_refused(const HubFolder& folder, const std::vector<std::string>& parts,
                           std::optional<uint32_t> type = {}) {
  const auto made = folder.convert(type);
  ASSERT_FALSE(made) << "not refused; wanted: " << ::testing::PrintToString(parts);
  const std::string& sentence = made.error().message;
  for (const std::string& part : parts)
    EXPECT_NE(sentence.find(part), sentence.npos) << "'" << part << "' is not in: " << sentence;
  EXPECT_EQ(sentence.find('\n'), sentence.npos) << sentence;
  EXPECT_EQ(made.error().exit, Exit::cannot);
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(folder.output()).parent_path()))
    EXPECT_EQ(entry.path(), folder.path) << "left behind";
}

}  // namespace assay::tests
