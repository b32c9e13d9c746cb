// Folders that lie: nothing outside them is read, nothing is left behind, and one sentence says why.
#include <gmock/gmock.h>

#include "convert/hub_folder.h"

namespace assay::tests {
namespace {

using nlohmann::ordered_json;

TEST(HostileFolder, FilesThatAreMissing) {
  HubFolder folder;
  expect_refused(folder, {"config.json is missing"});
  folder.write_texts();
  expect_refused(folder, {"neither model.safetensors nor model.safetensors.index.json"});
  folder.put("pytorch_model.bin", "x");
  expect_refused(folder, {"pytorch_model.bin are not read"});

  HubFolder none;
  std::filesystem::remove(none.path);
  expect_refused(none, {"no such folder"});
  std::ofstream(none.path) << "x";
  expect_refused(none, {"not a folder"});
}

TEST(HostileFolder, ConfigurationsThatAreNone) {
  HubFolder folder;
  folder.write();
  for (const char* text : {"", "[]", "{", "null", "\xff\xfe", R"({"hidden_size": 1)"}) {
    folder.put("config.json", text);
    expect_refused(folder, {"config.json"});
  }
  folder.put("config.json", std::string(200000, '['));
  expect_refused(folder, {"config.json", "not a JSON object"});
}

TEST(HostileFolder, NumbersThatContradict) {
  const auto refused = [](const char* field, const ordered_json& value, const char* part) {
    HubFolder folder;
    folder.config[field] = value;
    folder.write();
    expect_refused(folder, {part});
  };
  refused("hidden_size", -64, "'hidden_size|n_embd' is -64");
  refused("hidden_size", "64", "'hidden_size|n_embd' is 64; wanted a whole number");
  refused("hidden_size", 64.5, "wanted a whole number");
  refused("hidden_size", nullptr, "is missing");
  refused("hidden_size", 32, "token_embd.weight");
  refused("num_attention_heads", 0, "num_attention_heads");
  refused("num_attention_heads", 3, "multiple");
  refused("num_key_value_heads", 0, "num_key_value_heads");
  refused("num_key_value_heads", 3, "multiple");
  refused("num_hidden_layers", 1, "beyond the 1");
  refused("num_hidden_layers", 3, "blk.2.attn_norm.weight");
  refused("num_hidden_layers", 4000000000u, "block_count");
  refused("intermediate_size", 64, "blk.0.ffn_");
  refused("rms_norm_eps", "small", "rms_norm_eps");
  refused("vocab_size", 39, "vocab_size");
  refused("head_dim", 0, "head_dim");
  refused("head_dim", 24, "not whole heads of 24");
  refused("architectures", "LlamaForCausalLM", "a list of texts");
  refused("architectures", {"BertModel"},
          "'BertModel' is not supported; supported: LlamaForCausalLM");
  refused("hidden_act", "gelu", "'hidden_act' is gelu");
  refused("quantization_config", {{"quant_method", "fp8"}}, "quant_method' is fp8");
  refused("is_encoder_decoder", true, "is_encoder_decoder");
}

TEST(HostileFolder, TensorsOfAnotherShape) {
  const auto refused = [](const char* tensor, std::vector<uint64_t> shape, const char* part) {
    HubFolder folder;
    folder.add(tensor, std::move(shape));
    folder.write();
    expect_refused(folder, {part});
  };
  refused("model.layers.1.mlp.up_proj.weight", {96, 63}, "blk.1.ffn_up.weight");
  refused("model.layers.1.mlp.up_proj.weight", {95, 64}, "blk.1.ffn_up.weight");
  refused("model.layers.1.mlp.up_proj.weight", {96, 64, 2}, "blk.1.ffn_up.weight");
  refused("model.layers.1.mlp.up_proj.weight", {0, 64}, "blk.1.ffn_up.weight");
  refused("model.layers.1.mlp.up_proj.weight", {}, "blk.1.ffn_up.weight");
  refused("model.norm.weight", {63}, "output_norm.weight");
  refused("model.layers.0.self_attn.q_proj.weight", {60, 64}, "not whole heads of 16");
  refused("model.layers.0.self_attn.extra.weight", {4}, "self_attn.extra.weight\" has no place");
  refused("model.vision_tower.patch.weight", {4},
          "\"model.vision_tower.patch.weight\" has no place");
}

TEST(HostileFolder, PackedMatricesOfAnotherShape) {
  const std::string down = "model.layers.0.mlp.down_proj.weight";
  const auto refused = [&](std::vector<uint64_t> blocks, std::vector<uint64_t> scales,
                           const char* part, const char* dtype = "U8") {
    HubFolder folder;
    folder.tensors.erase(down);
    folder.add(down + "_blocks", std::move(blocks), "U8");
    if (!scales.empty()) folder.add(down + "_scales", std::move(scales), dtype);
    folder.write();
    expect_refused(folder, {part});
  };
  refused({64, 3, 16}, {64, 2}, "the 16 bytes and the scale of each group");
  refused({64, 3, 15}, {64, 3}, "the 16 bytes and the scale of each group");
  refused({192, 16}, {192}, "the 16 bytes and the scale of each group");
  refused({64, 3, 16}, {64, 3}, "the 16 bytes and the scale of each group", "F32");
  refused({64, 2, 16}, {64, 2}, "blk.0.ffn_down.weight");
  refused({64, 3, 16}, {}, "_blocks\" has no place");
  HubFolder twice;
  twice.add(down + "_blocks", {64, 3, 16}, "U8");
  twice.add(down + "_scales", {64, 3}, "U8");
  twice.write();
  expect_refused(twice, {"is there as MXFP4 and as another"});
}

TEST(HostileFolder, TensorsThatAreMissing) {
  for (const char* name :
       {"model.embed_tokens.weight", "model.norm.weight", "model.layers.1.mlp.down_proj.weight"}) {
    HubFolder folder;
    folder.tensors.erase(name);
    folder.write();
    expect_refused(folder, {"missing"});
  }
}

TEST(HostileFolder, ATruncatedFileIsRefusedAtEveryLength) {
  HubFolder folder;
  folder.write_texts();
  const std::string whole = HubFolder::safetensors(folder.tensors);
  for (const size_t size : {size_t(0), size_t(1), size_t(7), size_t(8), size_t(100),
                            whole.size() / 2, whole.size() - 1}) {
    folder.put("model.safetensors", whole.substr(0, size));
    expect_refused(folder, {"model.safetensors"});
  }
  folder.put("model.safetensors", whole + "x");
  expect_refused(folder, {"1 bytes follow the last tensor"});
}

TEST(HostileFolder, AnIndexMayNotLeadOutOfTheFolder) {
  HubFolder folder;
  ordered_json index = folder.write_parts();
  // A real file outside, that would be read.
  const auto outside = folder.path.parent_path() / "outside.safetensors";
  std::filesystem::copy_file(folder.path / HubFolder::part_name(0), outside);
  for (const std::string& name :
       {std::string("../outside.safetensors"), outside.string(), std::string("sub/x.safetensors"),
        std::string(".."), std::string(""), std::string(".hidden.safetensors"),
        std::string("config.json"), std::string("x\0.safetensors", 14),
        std::string("a\\x.safetensors")}) {
    index["weight_map"]["model.norm.weight"] = name;
    folder.put("model.safetensors.index.json", index.dump());
    const auto made = folder.convert();
    ASSERT_FALSE(made) << name;
    EXPECT_THAT(made.error().message, ::testing::HasSubstr("not the name of a safetensors file"));
    EXPECT_FALSE(std::filesystem::exists(folder.output()));
  }
  std::filesystem::remove(outside);
  index["weight_map"]["model.norm.weight"] = 7;
  folder.put("model.safetensors.index.json", index.dump());
  expect_refused(folder, {"not the name of a safetensors file"});
}

TEST(HostileFolder, IndexAndPartsMustAgree) {
  const auto refused = [](const auto& change, const std::vector<std::string>& parts) {
    HubFolder folder;
    ordered_json index = folder.write_parts();
    change(folder, index);
    folder.put("model.safetensors.index.json", index.dump());
    expect_refused(folder, parts);
  };
  refused([](HubFolder&, ordered_json& index) { index.erase("weight_map"); }, {"weight_map"});
  refused([](HubFolder&, ordered_json& index) { index["weight_map"] = ordered_json::object(); },
          {"weight_map"});
  refused([](HubFolder&, ordered_json& index) { index["weight_map"] = 3; }, {"weight_map"});
  refused([](HubFolder& folder,
             ordered_json&) { std::filesystem::remove(folder.path / HubFolder::part_name(1)); },
          {"the part \"model-00002-of-00002.safetensors\" is missing"});
  refused([](HubFolder&, ordered_json& index) { index["weight_map"].erase("model.norm.weight"); },
          {"model.norm.weight", "the index does not say so"});
  refused(
      [](HubFolder&, ordered_json& index) {
        index["weight_map"]["model.norm.weight"] = HubFolder::part_name(1);
      },
      {"model.norm.weight"});
  refused(
      [](HubFolder&, ordered_json& index) {
        index["weight_map"]["model.more.weight"] = HubFolder::part_name(1);
      },
      {"\"model.more.weight\" is not in"});
  refused(
      [](HubFolder& folder, ordered_json&) {
        folder.put(
            HubFolder::part_name(1),
            HubFolder::safetensors({{"model.norm.weight", folder.tensors["model.norm.weight"]}}));
      },
      {"model.norm.weight"});
}

TEST(HostileFolder, TheOutputStaysAsItWas) {
  HubFolder folder;
  folder.config["hidden_act"] = "gelu";
  folder.write();
  std::ofstream(folder.output()) << "before";
  ASSERT_FALSE(folder.convert());
  std::string left;
  std::ifstream(folder.output()) >> left;
  EXPECT_EQ(left, "before");
}

TEST(HostileFolder, TheOutputIsNoFileOfTheFolder) {
  HubFolder folder;
  folder.write();
  for (const char* name : {"model.safetensors", "config.json"}) {
    const auto made = convert::convert(folder.path.string(), (folder.path / name).string(), {});
    ASSERT_FALSE(made) << name;
    EXPECT_THAT(made.error().message, ::testing::HasSubstr("file of the folder"));
  }
  const auto made = convert::convert(folder.path.string(), (folder.path / "m.gguf").string(), {});
  EXPECT_TRUE(made) << made.error().message;
  EXPECT_FALSE(convert::convert(folder.path.string(), "/dev/null", {}));
  EXPECT_FALSE(convert::convert(folder.path.string(), "/no/such/folder/m.gguf", {}));
}

TEST(HostileFolder, ValuesBeyondAFormat) {
  HubFolder folder;
  folder.tensors["model.layers.1.mlp.up_proj.weight"].values[77] = 1e6f;
  folder.write();
  expect_refused(folder, {"\"blk.1.ffn_up.weight\" holds 1000000, which F16 cannot hold"},
                 quant::F16::id);
  EXPECT_TRUE(folder.convert(quant::Q8_0::id));
}

}  // namespace
}  // namespace assay::tests
