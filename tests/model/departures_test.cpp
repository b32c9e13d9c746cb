// Where assay follows the model's own code and llama.cpp does not: each row of the table touches
// the files that it is for and no other, and llama.cpp's reading is what llama.cpp computes.
#include "model/departures.h"

#include "small_architectures.h"

namespace assay::tests {
namespace {

std::vector<std::string> departures(const SmallFile& small, uint32_t positions = 256) {
  const auto bytes = small.bytes();
  const auto file = gguf::File::parse(bytes, "small.gguf");
  return model::departures_of(*file, 0, positions);
}

op::Program as_llama_cpp(const SmallFile& small) {
  static std::vector<std::vector<uint8_t>> kept;  // weights are views
  kept.push_back(small.bytes());
  static std::vector<gguf::File> files;
  files.push_back(std::move(*gguf::File::parse(kept.back(), "small.gguf")));
  auto program = model::build(files.back(), 0, model::Reading::llama_cpp);
  EXPECT_TRUE(program) << program.error().message;
  return std::move(*program);
}

uint32_t window_of(const op::Program& program) {
  return find(program, "blk.0.kqv")->as<op::Attend>()->window;
}

TEST(Departures, AWindowTouchesContextsBeyondIt) {
  for (const char* name : {"llama", "qwen2", "qwen3", "phi3", "smollm3", "mistral3"}) {
    SmallFile small(name);
    EXPECT_TRUE(departures(small).empty()) << name;
    small.set("attention.sliding_window", 64u);
    EXPECT_TRUE(departures(small, 64).empty()) << name;
    const auto found = departures(small, 65);
    ASSERT_EQ(found.size(), 1u) << name;
    EXPECT_NE(found[0].find("attention.sliding_window is 64"), std::string::npos) << found[0];
    EXPECT_EQ(window_of(*Built(small).program), 64u);
    EXPECT_EQ(window_of(as_llama_cpp(small)), 0u);
  }
}

TEST(Departures, ListsOfLayersCount) {
  SmallFile smol("smollm3");
  smol.set("attention.rope_pattern", std::vector<int32_t>{0, 1});
  ASSERT_EQ(departures(smol).size(), 1u);
  EXPECT_EQ(find(*Built(smol).program, "blk.0.q_rope"), nullptr);
  EXPECT_NE(find(as_llama_cpp(smol), "blk.0.q_rope"), nullptr);

  SmallFile exaone("exaone4");
  for (const std::string blk : {"blk.0.", "blk.1."}) {
    for (const char* name : {"attn_norm.weight", "ffn_norm.weight"})
      exaone.tensors.erase(blk + name);
    for (const char* name : {"post_attention_norm.weight", "post_ffw_norm.weight"})
      exaone.tensors[blk + name] = {0, {64}};
    for (const char* name : {"attn_q_norm.weight", "attn_k_norm.weight"})
      exaone.tensors[blk + name] = {0, {16}};
  }
  exaone.set("attention.sliding_window", 8u);
  exaone.set("attention.sliding_window_pattern", 2u);  // a number does not count with two blocks
  EXPECT_EQ(window_of(*Built(exaone).program), 0u);
  EXPECT_TRUE(departures(exaone).empty());
  exaone.set("attention.sliding_window_pattern", std::vector<int32_t>{1, 0});
  EXPECT_EQ(window_of(*Built(exaone).program), 8u);
  EXPECT_EQ(find(*Built(exaone).program, "blk.1.q_rope"), nullptr);
  EXPECT_EQ(window_of(as_llama_cpp(exaone)), 0u);
  ASSERT_EQ(departures(exaone).size(), 1u);
}

TEST(Departures, InterleavedSectionsTurnTheRest) {
  SmallFile small("qwen3vl");
  for (const std::string blk : {"blk.0.", "blk.1."})
    for (const char* name : {"attn_q_norm.weight", "attn_k_norm.weight"})
      small.tensors[blk + name] = {0, {16}};
  // Pairs 0 … 7; h is 1, 4 and w is 2, 5; 7 is beyond 3·2 and t takes 0, 3, 6.
  small.set("rope.dimension_sections", std::vector<int32_t>{4, 2, 2, 0});
  const auto own = Built(small).program->rope_tables[0].frequency;
  const auto theirs = as_llama_cpp(small).rope_tables[0].frequency;
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(theirs[i], i == 7 ? 0.0 : own[i]) << i;
  EXPECT_NE(own[7], 0.0);
  EXPECT_EQ(departures(small).size(), 1u);
  small.set("rope.dimension_sections", std::vector<int32_t>{4, 3, 3, 0});
  EXPECT_TRUE(departures(small).empty());
}

TEST(Departures, GemmasScaleAndTheNameOfAnActivation) {
  SmallFile small("gemma2");
  for (const std::string blk : {"blk.0.", "blk.1."})
    for (const char* name : {"post_attention_norm.weight", "post_ffw_norm.weight"})
      small.tensors[blk + name] = {0, {64}};
  EXPECT_TRUE(departures(small).empty());
  small.set("attention.scale", 0.5f);
  ASSERT_EQ(departures(small).size(), 1u);
  EXPECT_EQ(find(as_llama_cpp(small), "blk.0.kqv")->as<op::Attend>()->scale, 0.25f);
  small.set("hidden_activation", std::string("gelu"));
  EXPECT_EQ(departures(small).size(), 2u);
  EXPECT_EQ(find(as_llama_cpp(small), "blk.0.act")->as<op::Gate>()->activation,
            op::Activation::gelu_tanh);
}

TEST(Departures, WeightsOfExpertsFollowTheirKey) {
  SmallFile small = with_experts("qwen3moe", 32);
  const auto renormalises = [](const op::Program& program) {
    return find(program, "blk.0.routing")->as<op::Route>()->renormalise;
  };
  EXPECT_TRUE(departures(small).empty());
  EXPECT_EQ(renormalises(*Built(small).program), 1u);  // where no key says it
  small.set("expert_weights_norm", false);
  ASSERT_EQ(departures(small).size(), 1u);
  EXPECT_EQ(renormalises(*Built(small).program), 0u);
  EXPECT_EQ(renormalises(as_llama_cpp(small)), 1u);

  SmallFile other = with_experts("qwen2moe", 32);
  EXPECT_EQ(renormalises(*Built(other).program), 0u);
  other.set("expert_weights_norm", true);
  ASSERT_EQ(departures(other).size(), 1u);
  EXPECT_EQ(renormalises(as_llama_cpp(other)), 0u);
}

TEST(Departures, TheBoundsOfYarnsRampCount) {
  SmallFile small("qwen2");
  small.set("rope.scaling.type", std::string("yarn"));
  small.set("rope.scaling.factor", 4.0f);
  small.set("rope.scaling.original_context_length", 64u);
  const auto usual = Built(small).program->rope_tables[0].frequency;
  small.set("rope.scaling.yarn_beta_fast", 32.0f);
  EXPECT_TRUE(departures(small).empty());
  small.set("rope.scaling.yarn_beta_fast", 2.0f);
  ASSERT_EQ(departures(small).size(), 1u);
  EXPECT_NE(Built(small).program->rope_tables[0].frequency, usual);
  EXPECT_EQ(as_llama_cpp(small).rope_tables[0].frequency, usual);
}

TEST(Departures, ASharedCacheIsThatOfTheLastLayerOfItsKind) {
  SmallFile small = gemma4();
  EXPECT_TRUE(departures(small).empty());
  // Three layers with a window: the last reads the one before it, not the one before that.
  small.set("attention.head_count_kv", 2u);
  small.set("attention.sliding_window_pattern", std::vector<int32_t>{1, 1, 1});
  small.set("rope.dimension_count", 16u);
  small.set("attention.key_length", 16u);
  small.set("attention.value_length", 16u);
  small.tensors["rope_freqs.weight"] = {0, {8}, std::vector<float>(8, 2.0f)};
  for (const char* name : {"attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight",
                           "attn_q_norm.weight", "attn_k_norm.weight"})
    small.tensors[std::string("blk.1.") + name] = small.tensors[std::string("blk.0.") + name];
  ASSERT_EQ(departures(small).size(), 1u);
  EXPECT_EQ(find(*Built(small).program, "blk.2.kqv")->as<op::Attend>()->cache, 1u);
  EXPECT_EQ(find(as_llama_cpp(small), "blk.2.kqv")->as<op::Attend>()->cache, 0u);
}

}  // namespace
}  // namespace assay::tests
