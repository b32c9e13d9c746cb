// A whole folder becomes a file that runs.
#include "convert/convert.h"

#include <gmock/gmock.h>

#include <cmath>

#include "convert/hub_folder.h"
#include "model/model.h"

namespace assay::tests {
namespace {

using ::testing::HasSubstr;

std::string text_of(const gguf::File& file, const std::string& key) {
  return std::string(file.string_value(key)->value_or("absent"));
}

uint64_t number_of(const gguf::File& file, const std::string& key) {
  return file.unsigned_value(key)->value_or(99999);
}

TEST(Convert, EachClassRunsAsItsArchitecture) {
  for (const auto& [type, architecture] :
       {std::pair{"llama", "llama"}, std::pair{"mistral", "llama"}, std::pair{"qwen2", "qwen2"},
        std::pair{"qwen3", "qwen3"}, std::pair{"phi3", "phi3"}}) {
    SCOPED_TRACE(type);
    HubFolder folder(type);
    folder.write();
    const auto file = converted(folder);
    ASSERT_TRUE(file);
    EXPECT_EQ(text_of(*file, "general.architecture"), architecture);
    EXPECT_TRUE(model::build(*file)) << model::build(*file).error().message;
  }
}

TEST(Convert, ConfigurationBecomesKeys) {
  HubFolder folder("llama", "Tiny Llama");
  folder.config["head_dim"] = 16;
  folder.write();
  const auto file = converted(folder);
  ASSERT_TRUE(file);
  EXPECT_EQ(text_of(*file, "general.name"), "Tiny Llama");
  EXPECT_EQ(number_of(*file, "llama.block_count"), 2u);
  EXPECT_EQ(number_of(*file, "llama.context_length"), 256u);
  EXPECT_EQ(number_of(*file, "llama.embedding_length"), 64u);
  EXPECT_EQ(number_of(*file, "llama.feed_forward_length"), 96u);
  EXPECT_EQ(number_of(*file, "llama.attention.head_count"), 4u);
  EXPECT_EQ(number_of(*file, "llama.attention.head_count_kv"), 2u);
  EXPECT_EQ(number_of(*file, "llama.attention.key_length"), 16u);
  EXPECT_EQ(number_of(*file, "llama.vocab_size"), 40u);
  EXPECT_EQ(**file->real_value("llama.attention.layer_norm_rms_epsilon"), double(1e-5f));
  EXPECT_EQ(**file->real_value("llama.rope.freq_base"), 10000.0);
  EXPECT_EQ(text_of(*file, "tokenizer.ggml.model"), "none");
}

TEST(Convert, PackedMatricesKeepTheirBits) {
  HubFolder folder;
  const std::string down = "model.layers.0.mlp.down_proj.weight";
  folder.config["quantization_config"] = {{"quant_method", "mxfp4"}};
  folder.tensors.erase(down);
  folder.add(down + "_blocks", {64, 3, 16}, "U8");
  folder.add(down + "_scales", {64, 3}, "U8");
  folder.write();
  const auto file = converted(folder, quant::F16::id);  // which is for the others
  ASSERT_TRUE(file);
  const gguf::Tensor* packed = file->find_tensor("blk.0.ffn_down.weight");
  ASSERT_TRUE(packed);
  EXPECT_EQ(packed->type, quant::MXFP4::id);
  EXPECT_EQ(packed->dims[0], 96u);
  EXPECT_EQ(file->find_tensor("blk.1.ffn_down.weight")->type, quant::F16::id);
  std::vector<float> row(96);
  ASSERT_TRUE(quant::decode_row(quant::MXFP4::id, packed->data.first(51), row));
  // Source: OCP's Microscaling Formats 1.0, E2M1 and E8M0.
  const float e2m1[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  for (size_t i = 0; i < 96; ++i) {
    const auto byte = uint8_t(folder.tensors[down + "_blocks"].values[i / 2]);
    const int code = i % 2 ? byte >> 4 : byte & 15;
    const int exponent = int(folder.tensors[down + "_scales"].values[i / 32]) - 127;
    const float want = exponent < -100 ? 0 : std::ldexp(e2m1[code & 7], exponent);
    EXPECT_EQ(row[i], code & 8 ? -want : want) << i;
  }
}

TEST(Convert, LlamaPairsTheRowsOfHeadsAndQwenLeavesThem) {
  for (const bool llama : {true, false}) {
    HubFolder folder(llama ? "llama" : "qwen2");
    folder.write();
    const auto file = converted(folder);
    ASSERT_TRUE(file);
    for (const auto& [ours, theirs] :
         {std::pair{"blk.1.attn_q.weight", "model.layers.1.self_attn.q_proj.weight"},
          std::pair{"blk.1.attn_k.weight", "model.layers.1.self_attn.k_proj.weight"}}) {
      const auto found = values_of(*file, ours);
      const auto& source = folder.tensors[theirs].values;
      ASSERT_EQ(found.size(), source.size());
      // Of each head of 16 rows: 0, 8, 1, 9, …
      for (size_t row = 0; row < found.size() / 64; ++row) {
        const size_t lane = row % 16, from = llama ? row - lane + lane / 2 + lane % 2 * 8 : row;
        for (size_t i = 0; i < 64; ++i)
          ASSERT_EQ(found[row * 64 + i], source[from * 64 + i]) << ours << " row " << row;
      }
    }
    EXPECT_EQ(values_of(*file, "blk.1.attn_v.weight"),
              folder.tensors["model.layers.1.self_attn.v_proj.weight"].values);
    EXPECT_EQ(values_of(*file, "output.weight"), folder.tensors["lm_head.weight"].values);
  }
}

TEST(Convert, BiasesOfRowsMoveWithThem) {
  HubFolder folder;
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    folder.add(layer + "self_attn.q_proj.bias", {64});
    folder.add(layer + "self_attn.k_proj.bias", {32}, "BF16");
    folder.add(layer + "self_attn.v_proj.bias", {32});
    folder.add(layer + "self_attn.o_proj.bias", {64});
  }
  folder.write();
  const auto file = converted(folder);
  ASSERT_TRUE(file);
  const auto& source = folder.tensors["model.layers.0.self_attn.k_proj.bias"].values;
  const auto found = values_of(*file, "blk.0.attn_k.bias");
  for (size_t row = 0; row < 32; ++row)
    EXPECT_EQ(found[row], source[row - row % 16 + row % 16 / 2 + row % 2 * 8]);
  EXPECT_EQ(values_of(*file, "blk.0.attn_output.bias"),
            folder.tensors["model.layers.0.self_attn.o_proj.bias"].values);
}

TEST(Convert, PartsGiveTheSameFileAsTheWhole) {
  HubFolder whole, parts;
  whole.write();
  parts.write_parts();
  const auto a = converted(whole), b = converted(parts);
  ASSERT_TRUE(a && b);
  EXPECT_TRUE(std::ranges::equal(a->bytes(), b->bytes()));
}

TEST(Convert, EachMatrixKeepsTheTypeOfTheFolder) {
  HubFolder folder;
  folder.add("model.layers.0.mlp.up_proj.weight", {96, 64}, "BF16");
  folder.add("model.layers.0.mlp.down_proj.weight", {64, 96}, "F16");
  folder.add("model.layers.0.input_layernorm.weight", {64}, "BF16");
  folder.write();
  const auto file = converted(folder);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->find_tensor("blk.0.ffn_up.weight")->type, quant::BF16::id);
  EXPECT_EQ(file->find_tensor("blk.0.ffn_down.weight")->type, quant::F16::id);
  EXPECT_EQ(file->find_tensor("blk.0.ffn_gate.weight")->type, quant::F32::id);
  EXPECT_EQ(file->find_tensor("blk.0.attn_norm.weight")->type, quant::F32::id);
  EXPECT_EQ(values_of(*file, "blk.0.attn_norm.weight"),
            folder.tensors["model.layers.0.input_layernorm.weight"].values);
  EXPECT_EQ(number_of(*file, "general.file_type"), 0u);
}

TEST(Convert, AQuantisedTypeIsThatOfTheMatricesAndTheHeadHasMore) {
  HubFolder folder;
  folder.write();
  const auto file = converted(folder, quant::Q4_0::id);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->find_tensor("token_embd.weight")->type, quant::Q4_0::id);
  EXPECT_EQ(file->find_tensor("blk.0.attn_q.weight")->type, quant::Q4_0::id);
  EXPECT_EQ(file->find_tensor("output.weight")->type, quant::Q8_0::id);
  EXPECT_EQ(file->find_tensor("output_norm.weight")->type, quant::F32::id);
  EXPECT_EQ(number_of(*file, "general.file_type"), 2u);
  // The encoder's own result, row by row.
  const auto& source = folder.tensors["model.layers.0.mlp.up_proj.weight"].values;
  std::vector<uint8_t> wanted(96 * 2 * 18);
  ASSERT_TRUE(quant::encode_row(quant::Q4_0::id, source, wanted));
  EXPECT_TRUE(std::ranges::equal(file->find_tensor("blk.0.ffn_up.weight")->data, wanted));
}

TEST(Convert, ATiedHeadIsACopyWhereFilesOfTheArchitectureHoldOne) {
  HubFolder folder("olmo2");
  folder.config["tie_word_embeddings"] = true;
  folder.tensors.erase("lm_head.weight");
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    folder.tensors.erase(layer + "input_layernorm.weight");
    folder.add(layer + "post_feedforward_layernorm.weight", {64});
    folder.add(layer + "self_attn.q_norm.weight", {64});
    folder.add(layer + "self_attn.k_norm.weight", {32});
  }
  folder.write();
  const auto file = converted(folder);
  ASSERT_TRUE(file);
  EXPECT_EQ(values_of(*file, "output.weight"), folder.tensors["model.embed_tokens.weight"].values);
}

TEST(Convert, ATiedHeadIsTheEmbedding) {
  HubFolder folder;
  folder.config["tie_word_embeddings"] = true;  // what is stored as the head does not count
  folder.write();
  const auto file = converted(folder, quant::Q4_0::id);
  ASSERT_TRUE(file);
  EXPECT_FALSE(file->find_tensor("output.weight"));
  EXPECT_EQ(file->find_tensor("token_embd.weight")->type, quant::Q8_0::id);

  HubFolder silent;
  silent.config.erase("tie_word_embeddings");
  silent.tensors.erase("lm_head.weight");
  silent.write();
  EXPECT_TRUE(converted(silent));

  HubFolder headless;
  headless.tensors.erase("lm_head.weight");
  headless.write();
  expect_refused(headless, {"tie_word_embeddings", "lm_head.weight"});
}

TEST(Convert, RowsThatBlocksDoNotDivideAreF16AndSaid) {
  HubFolder folder;
  folder.config["intermediate_size"] = 80;
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    folder.add(layer + "mlp.gate_proj.weight", {80, 64});
    folder.add(layer + "mlp.up_proj.weight", {80, 64});
    folder.add(layer + "mlp.down_proj.weight", {64, 80});
  }
  folder.write();
  const auto made = folder.convert(quant::Q8_0::id);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_THAT(made->notes, ::testing::Contains(HasSubstr("blk.0.ffn_down.weight has rows of 80")));
  const auto file = gguf::File::open(folder.output());
  EXPECT_EQ(file->find_tensor("blk.0.ffn_down.weight")->type, quant::F16::id);
  EXPECT_EQ(file->find_tensor("blk.0.ffn_up.weight")->type, quant::Q8_0::id);
}

TEST(Convert, MistralHasItsWindowAndLlamaNone) {
  for (const bool mistral : {true, false}) {
    HubFolder folder(mistral ? "mistral" : "llama");
    folder.config["sliding_window"] = 128;
    folder.write();
    const auto file = converted(folder);
    ASSERT_TRUE(file);
    EXPECT_EQ(number_of(*file, "llama.attention.sliding_window"), mistral ? 128u : 99999u);
  }
}

TEST(Convert, TheModelTypeServesWhereNoClassIsNamed) {
  HubFolder folder("qwen3");
  folder.config.erase("architectures");
  folder.write();
  const auto file = converted(folder);
  ASSERT_TRUE(file);
  EXPECT_EQ(text_of(*file, "general.architecture"), "qwen3");
}

TEST(Convert, ProgressCountsBytesAndCanStop) {
  HubFolder folder;
  folder.write();
  std::vector<uint64_t> done;
  uint64_t all = 0;
  const auto count = [&](uint64_t bytes, uint64_t total) {
    done.push_back(bytes);
    all = total;
    return true;
  };
  ASSERT_TRUE(convert::convert(folder.path.string(), folder.output(), {{}, count}));
  EXPECT_EQ(done.size(), folder.tensors.size());
  EXPECT_EQ(done.back(), all);
  EXPECT_TRUE(std::ranges::is_sorted(done));

  std::filesystem::remove(folder.output());
  const auto stopped = convert::convert(folder.path.string(), folder.output(),
                                        {{}, [](uint64_t, uint64_t) { return false; }});
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().exit, Exit::interrupted);
  EXPECT_FALSE(std::filesystem::exists(folder.output()));
  EXPECT_FALSE(std::filesystem::exists(folder.output() + ".part"));
}

TEST(Convert, NamesOfTypes) {
  EXPECT_EQ(*convert::type_of_name("q8_0"), quant::Q8_0::id);
  EXPECT_EQ(*convert::type_of_name("IQ4_NL"), quant::IQ4_NL::id);
  EXPECT_THAT(convert::type_of_name("Q7_9").error().message, HasSubstr("there is no type 'Q7_9'"));
  for (const char* name : {"Q7_9", "Q2_K"})
    EXPECT_THAT(convert::type_of_name(name).error().message,
                ::testing::AllOf(HasSubstr(name), HasSubstr("F32, F16, BF16, Q8_0, Q4_0")));
}

}  // namespace
}  // namespace assay::tests
