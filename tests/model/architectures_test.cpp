// What qwen2, qwen3 and phi3 have beside llama: biases, norms per head, fused matrices, half
// pairing, partial RoPE, long and short factors.
#include <cmath>

#include "small_file.h"

namespace assay::tests {
namespace {

constexpr uint32_t F32 = 0;

TEST(Architectures, PairsAreAdjacentInLlamaFilesOnly) {
  for (const char* name : {"llama", "qwen2", "qwen3", "phi3"}) {
    const Built built{SmallFile(name)};
    ASSERT_TRUE(built.program) << built.error;
    EXPECT_EQ(built.program->rope_tables[0].adjacent, std::string(name) == "llama") << name;
    EXPECT_EQ(built.program->rope_factors, "") << name;
  }
}

TEST(Qwen2, HasBiasesOfAttentionAndOfTheHead) {
  SmallFile small("qwen2");
  for (const auto& [name, size] :
       std::map<std::string, uint64_t>{{"attn_q", 64}, {"attn_k", 32}, {"attn_v", 32}})
    for (const char* blk : {"blk.0.", "blk.1."})
      small.tensors[blk + name + ".bias"] = {F32, {size}};
  small.tensors["output.bias"] = {F32, {40}};
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(weight_of(*built.program, "blk.1.k", true), "blk.1.attn_k.bias");
  EXPECT_EQ(weight_of(*built.program, "logits", true), "output.bias");
  EXPECT_EQ(weight_of(*built.program, "logits"), "token_embd.weight");  // tied
  for (const char* other : {"llama", "qwen3", "phi3"}) {
    SmallFile refused(other);
    refused.tensors["output.bias"] = {F32, {40}};
    expect_refused(refused, {"output.bias", "not used", other});
  }
  for (const char* name : {"attn_output", "ffn_up", "ffn_gate", "ffn_down"}) {
    SmallFile refused = small;
    refused.tensors[std::string("blk.1.") + name + ".bias"] = {F32, {64}};
    expect_refused(refused, {name, "not used"});
  }
}

TEST(Qwen3, NormsEachHeadOfQAndKBeforeRope) {
  const SmallFile small("qwen3");
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  const op::Program& program = *built.program;
  const char* order[] = {"q", "k", "v", "q_norm", "k_norm", "q_rope", "k_rope", "kv"};
  for (size_t i = 0; i < 8; ++i)
    EXPECT_EQ(program.operations[2 + i].name, std::string("blk.0.") + order[i]);
  EXPECT_EQ(find(program, "blk.1.q_norm")->as<op::RmsNorm>()->parts, 4u);
  EXPECT_EQ(find(program, "blk.1.k_norm")->as<op::RmsNorm>()->parts, 2u);
  EXPECT_EQ(find(program, "blk.1.q_norm")->as<op::RmsNorm>()->eps, 1e-5f);
  EXPECT_EQ(find(program, "blk.1.q_rope")->inputs[0], find(program, "blk.1.q_norm")->output);
  EXPECT_EQ(program.head_dim_of(*find(program, "blk.1.q")), 16u);
  SmallFile missing = small, wide = small, classifier = small;
  missing.tensors.erase("blk.1.attn_k_norm.weight");
  expect_refused(missing, {"blk.1.attn_k_norm.weight", "missing", "wanted 16"});
  wide.tensors["blk.0.attn_q_norm.weight"] = {F32, {64}};
  expect_refused(wide, {"blk.0.attn_q_norm.weight", "64", "wanted 16"});
  classifier.tensors["cls.output.weight"] = {F32, {64}};
  EXPECT_TRUE(Built(classifier).program);
  SmallFile llama;
  llama.tensors["cls.output.weight"] = {F32, {64}};
  expect_refused(llama, {"cls.output.weight", "not used"});
}

TEST(Qwen3, HeadsMayBeWiderThanTheModel) {
  SmallFile small("qwen3");
  small.set("attention.key_length", 32u);
  small.set("attention.value_length", 32u);
  for (const std::string blk : {"blk.0.", "blk.1."}) {
    small.tensors[blk + "attn_q.weight"] = {8, {64, 128}};
    small.tensors[blk + "attn_k.weight"] = small.tensors[blk + "attn_v.weight"] = {8, {64, 64}};
    small.tensors[blk + "attn_output.weight"] = {8, {128, 64}};
    small.tensors[blk + "attn_q_norm.weight"] = {F32, {32}};
    small.tensors[blk + "attn_k_norm.weight"] = {F32, {32}};
  }
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(built.program->caches[0], (op::CacheShape{2, 32, 32}));
}

/// Rows of a fused matrix, found by their place in the file.
void expect_rows(const Built& built, const std::string& operation, const std::string& tensor,
                 uint64_t first, uint64_t rows) {
  const op::Weight& weight = built.program->weights[find(*built.program, operation)->weight];
  const gguf::Tensor& whole = *built.file->find_tensor(tensor);
  const uint64_t bytes = whole.data.size() / whole.dims[1];
  EXPECT_EQ(weight.rows, rows) << operation;
  EXPECT_EQ(weight.data.data(), whole.data.data() + first * bytes) << operation;
  EXPECT_EQ(weight.data.size(), rows * bytes) << operation;
}

TEST(Fused, AttentionIsThreeViewsOfTheRowsInEveryArchitecture) {
  for (const char* name : {"llama", "qwen2", "qwen3", "phi3"}) {
    SmallFile small(name);
    small.fuse_attention(1);
    const Built built(small);
    ASSERT_TRUE(built.program) << built.error;
    EXPECT_EQ(weight_of(*built.program, "blk.1.q"), "blk.1.attn_qkv.weight[q]");
    expect_rows(built, "blk.1.q", "blk.1.attn_qkv.weight", 0, 64);
    expect_rows(built, "blk.1.k", "blk.1.attn_qkv.weight", 64, 32);
    expect_rows(built, "blk.1.v", "blk.1.attn_qkv.weight", 96, 32);
    small.tensors["blk.1.attn_qkv.weight"].dims = {64, 127};
    expect_refused(small, {"blk.1.attn_qkv.weight", "64 x 127", "wanted 64 x 128"});
  }
}

TEST(Fused, BiasesComeFusedOrAllThree) {
  SmallFile fused("phi3");
  fused.tensors["blk.0.attn_qkv.bias"] = {F32, {128}};
  const Built built(fused);
  ASSERT_TRUE(built.program) << built.error;
  const op::Weight& bias = built.program->weights[find(*built.program, "blk.0.v")->bias];
  EXPECT_EQ(bias.name, "blk.0.attn_qkv.bias[v]");
  EXPECT_EQ(bias.columns, 32u);
  EXPECT_EQ(bias.data.data(), built.file->find_tensor("blk.0.attn_qkv.bias")->data.data() + 96 * 4);
  SmallFile three("phi3");
  three.tensors["blk.0.attn_q.bias"] = {F32, {64}};
  three.tensors["blk.0.attn_k.bias"] = {F32, {32}};
  const Built two(three);
  ASSERT_TRUE(two.program) << two.error;
  EXPECT_EQ(weight_of(*two.program, "blk.0.q", true), "");  // only all three count
  three.tensors["blk.0.attn_v.bias"] = {F32, {32}};
  const Built all(three);
  ASSERT_TRUE(all.program) << all.error;
  EXPECT_EQ(weight_of(*all.program, "blk.0.q", true), "blk.0.attn_q.bias");
}

TEST(Fused, TheScaleOfAFusedMatrixIsThatOfEachPart) {
  SmallFile small("phi3");
  small.tensors["blk.0.attn_qkv.scale"] = {F32, {1}, {0.5f}};
  small.tensors["blk.0.ffn_up.scale"] = {F32, {1}, {0.5f}};  // phi3's reader does not use it
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  for (const char* name : {"blk.0.q", "blk.0.k", "blk.0.v"})
    EXPECT_EQ(find(*built.program, name)->as<op::Scale>()->factor, 0.5f) << name;
  EXPECT_TRUE(find(*built.program, "blk.0.up")->is<op::Matmul>());
  SmallFile llama;
  llama.tensors["blk.0.ffn_up.scale"] = {F32, {1}, {0.5f}};
  const Built scaled(llama);
  ASSERT_TRUE(scaled.program) << scaled.error;
  EXPECT_TRUE(find(*scaled.program, "blk.0.up")->is<op::Scale>());
}

TEST(Phi3, FeedForwardHoldsTheGateFirst) {
  SmallFile small("phi3");
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(weight_of(*built.program, "blk.0.gate"), "blk.0.ffn_up.weight[gate]");
  expect_rows(built, "blk.0.gate", "blk.0.ffn_up.weight", 0, 96);
  expect_rows(built, "blk.0.up", "blk.0.ffn_up.weight", 96, 96);
  small.tensors["blk.1.ffn_up.weight"] = {8, {64, 96}};
  expect_refused(small, {"blk.1.ffn_up.weight", "64 x 96", "wanted 64 x 192"});
  SmallFile gate("phi3");
  gate.tensors["blk.0.ffn_gate.weight"] = {8, {64, 96}};
  expect_refused(gate, {"blk.0.ffn_gate.weight", "not used"});
}

TEST(Phi3, MayHoldSeparateMatricesButAllThree) {
  SmallFile small("phi3");
  small.tensors.erase("blk.0.attn_qkv.weight");
  small.tensors["blk.0.attn_q.weight"] = {8, {64, 64}};
  small.tensors["blk.0.attn_k.weight"] = {8, {64, 32}};
  expect_refused(small, {"blk.0.attn_v.weight", "missing"});
  small.tensors["blk.0.attn_v.weight"] = {8, {64, 32}};
  EXPECT_TRUE(Built(small).program) << Built(small).error;
  SmallFile both("phi3");
  both.tensors["blk.0.attn_q.weight"] = {8, {64, 64}};
  expect_refused(both, {"blk.0.attn_q.weight", "not used"});
}

SmallFile with_factors(const std::string& architecture = "phi3") {
  SmallFile small(architecture);
  small.set("rope.dimension_count", 8u);
  small.set("rope.scaling.original_context_length", 128u);
  small.tensors["rope_factors_short.weight"] = {F32, {4}, {1, 1, 2, 2}};
  small.tensors["rope_factors_long.weight"] = {F32, {4}, {4, 4, 8, 8}};
  return small;
}

TEST(Phi3, TheContextLimitChoosesTheFactors) {
  const SmallFile small = with_factors();
  for (const uint32_t context : {0u, 1u, 128u, 129u, 256u, 4096u}) {
    const Built built(small, context);
    ASSERT_TRUE(built.program) << built.error;
    const bool far = context == 0 || context > 128;  // trained: 256
    EXPECT_EQ(built.program->rope_factors, far ? "long" : "short") << context;
    EXPECT_EQ(built.program->rope_tables[0].frequency[0], far ? 0.25 : 1.0) << context;
    EXPECT_EQ(built.program->rope_tables[0].dimensions, 8u);  // of 16
    EXPECT_EQ(built.program->context, context ? context : 256u);
    EXPECT_EQ(built.program->trained_context, 256u);
  }
  SmallFile unstated = small;  // the original context is then the trained one
  unstated.keys.erase("phi3.rope.scaling.original_context_length");
  EXPECT_EQ(Built(unstated).program->rope_factors, "short");
  EXPECT_EQ(Built(unstated, 257).program->rope_factors, "long");
  SmallFile zero = small;
  zero.set("rope.scaling.original_context_length", 0u);
  EXPECT_EQ(Built(zero, 1).program->rope_factors, "long");
}

TEST(Phi3, OneListOfFactorsMayBeAbsentAndBothAreChecked) {
  SmallFile small = with_factors(), nan = small, narrow = small, freqs("phi3");
  small.tensors.erase("rope_factors_short.weight");
  const Built near(small, 100);
  ASSERT_TRUE(near.program) << near.error;
  EXPECT_EQ(near.program->rope_factors, "short");
  EXPECT_EQ(near.program->rope_tables[0].frequency[0], 1.0);  // factors of 1
  nan.tensors["rope_factors_long.weight"] = {F32, {4}, {1, NAN, 1, 1}};
  expect_refused(nan, {"rope_factors_long.weight"}, 100);  // though the short ones are chosen
  narrow.tensors["rope_factors_short.weight"] = {F32, {8}};
  expect_refused(narrow, {"rope_factors_short.weight", "8", "wanted 4"});
  freqs.tensors["rope_freqs.weight"] = {F32, {8}, std::vector<float>(8, 1.0f)};
  expect_refused(freqs, {"rope_freqs.weight", "not used", "phi3"});
}

TEST(Llama, HasLongAndShortFactorsOnlyWithLongrope) {
  SmallFile small = with_factors("llama");
  expect_refused(small, {"rope_factors_", "not used"});
  small.set("rope.scaling.type", std::string("longrope"));
  EXPECT_EQ(Built(small).program->rope_factors, "long");
  small.tensors["rope_freqs.weight"] = {F32, {4}, {1, 1, 1, 1}};
  expect_refused(small, {"rope_freqs.weight", "not used"});
  for (const char* qwen : {"qwen2", "qwen3"})
    expect_refused(with_factors(qwen), {"not used", qwen});
}

/// Each file without one tensor, and with one row more.
TEST(Architectures, EveryTensorIsWantedInItsShape) {
  for (const char* architecture : {"qwen2", "qwen3", "phi3"}) {
    const SmallFile whole(architecture);
    for (const auto& [name, tensor] : whole.tensors) {
      SmallFile missing(architecture), longer(architecture);
      missing.tensors.erase(name);
      const bool fused = name.find("attn_qkv") != name.npos;
      expect_refused(missing, {fused ? "attn_q.weight" : name, "missing"});
      if (name == "token_embd.weight") continue;
      longer.tensors[name].dims.back() += 32;
      expect_refused(longer, {name, "wanted"});
    }
  }
}

/// Each number of each architecture below and above its bounds.
TEST(Architectures, EveryNumberHasBounds) {
  const std::map<std::string, std::vector<SmallFile::Value>> wrong = {
      {"block_count", {0u, 5000u}},
      {"embedding_length", {0u, 1u << 21}},
      {"feed_forward_length", {0u, 1u << 21}},
      {"context_length", {0u, 3u << 30}},
      {"attention.head_count", {0u, 70000u}},
      {"attention.head_count_kv", {0u, 3u, 70000u}},
      {"attention.key_length", {0u, 15u, 70000u}},
      {"attention.value_length", {0u, 70000u}},
      {"attention.layer_norm_rms_epsilon", {0.0f, -1.0f, 1e31f, NAN}},
      {"attention.sliding_window", {std::string("all"), -1.0f}},
      {"rope.dimension_count", {0u, 1u, 7u, 18u}},
      {"rope.freq_base", {0.0f, -1.0f, 1e31f, NAN}},
      {"rope.scaling.factor", {-1.0f, 1e31f, NAN}},
      {"rope.scale_linear", {-1.0f, NAN}},
      {"rope.scaling.attn_factor", {NAN, INFINITY, 1e9f}},
      {"rope.scaling.type", {std::string("dynamic"), std::string()}}};
  for (const char* architecture : {"llama", "qwen2", "qwen3", "phi3"})
    for (const auto& [key, values] : wrong)
      for (size_t i = 0; i < values.size(); ++i) {
        SmallFile small(architecture);
        small.set(key, values[i]);
        const Built built(small);
        EXPECT_FALSE(built.program) << architecture << "." << key << " value " << i;
      }
}

}  // namespace
}  // namespace assay::tests
