// Each file that is no llama we can run is refused, by one sentence that says what and why.
#include "quant/formats.h"
#include "small_file.h"

namespace assay::tests {
namespace {

TEST(Refusal, TheUnchangedFileIsAccepted) {
  const Built built{SmallFile()};
  EXPECT_TRUE(built.program) << built.error;
}

TEST(Refusal, AnUnknownArchitectureNamesTheSupportedOnes) {
  SmallFile small;
  small.keys["general.architecture"] = std::string("orangutan");
  expect_refused(small, {"orangutan", "not supported", "supported: llama, afmoe", "xverse"});
  small.keys["general.architecture"] = std::string("mamba");
  expect_refused(small, {"mamba", "not supported: recurrent layers"});
  small.keys.erase("general.architecture");
  expect_refused(small, {"small.gguf", "general.architecture"});
  small.keys["general.architecture"] = 7u;
  expect_refused(small, {"general.architecture"});
  EXPECT_EQ(model::architectures().front(), "llama");
}

TEST(Refusal, EveryNumberThatMustBeThere) {
  for (const char* key :
       {"block_count", "embedding_length", "feed_forward_length", "context_length",
        "attention.head_count", "attention.layer_norm_rms_epsilon"}) {
    const std::string name = std::string("llama.") + key;
    SmallFile missing, zero, text;
    missing.keys.erase(name);
    expect_refused(missing, {name, "missing"});
    if (std::string(key) == "attention.layer_norm_rms_epsilon")
      zero.keys[name] = 0.0f;
    else
      zero.keys[name] = 0u;
    expect_refused(zero, {name});
    text.keys[name] = std::string("many");
    expect_refused(text, {name});
  }
}

TEST(Refusal, NumbersOutOfBounds) {
  const std::map<std::string, uint32_t> large = {{"block_count", 5000},
                                                 {"embedding_length", 1u << 21},
                                                 {"feed_forward_length", 1u << 21},
                                                 {"attention.head_count", 70000}};
  for (const auto& [key, value] : large) {
    SmallFile small;
    small.set(key, value);
    expect_refused(small, {"llama." + key, std::to_string(value)});
  }
  SmallFile pair;  // a rotation needs two lanes: the bound below
  pair.set("rope.dimension_count", 1u);
  expect_refused(pair, {"llama.rope.dimension_count is 1, outside 2 to"});
  for (float eps : {-1e-5f, 1e-31f, float(NAN), float(INFINITY)}) {
    SmallFile small;
    small.set("attention.layer_norm_rms_epsilon", eps);
    expect_refused(small, {"layer_norm_rms_epsilon"});
  }
  for (float base : {-1.0f, 0.0f, 1e31f, float(NAN)}) {
    SmallFile small;
    small.set("rope.freq_base", base);
    expect_refused(small, {"llama.rope.freq_base"});
  }
}

TEST(Refusal, HeadsThatDoNotDivide) {
  SmallFile kv;
  kv.set("attention.head_count_kv", 3u);
  expect_refused(kv, {"head_count 4", "head_count_kv 3"});
  SmallFile width;
  width.set("attention.head_count", 6u);
  width.set("attention.head_count_kv", 2u);
  expect_refused(width, {"embedding_length 64", "head_count 6"});
  SmallFile more;
  more.set("attention.head_count_kv", 8u);
  expect_refused(more, {"head_count 4", "head_count_kv 8"});
}

TEST(Refusal, AMissingTensorByNameAndShape) {
  const SmallFile whole;
  for (const auto& [name, tensor] : whole.tensors) {
    SmallFile small;
    small.tensors.erase(name);
    const std::string shape = std::to_string(tensor.dims[0]);
    if (name == "token_embd.weight")
      expect_refused(small, {name, "missing"});
    else
      expect_refused(small, {name, "missing", "wanted " + shape});
  }
}

TEST(Refusal, AWrongShapeByNameWantedAndFound) {
  const SmallFile whole;
  for (const auto& [name, tensor] : whole.tensors) {
    if (name == "token_embd.weight") continue;
    SmallFile longer, deeper;
    longer.tensors[name].dims.back() += 32;
    std::string wanted = std::to_string(tensor.dims[0]),
                found = std::to_string(longer.tensors[name].dims[0]);
    if (tensor.dims.size() == 2) {
      wanted += " x " + std::to_string(tensor.dims[1]);
      found += " x " + std::to_string(longer.tensors[name].dims[1]);
    }
    expect_refused(longer, {name, "wanted " + wanted, "has shape " + found});
    deeper.tensors[name].dims.resize(2, 1);
    deeper.tensors[name].dims.push_back(2);
    expect_refused(deeper, {name, "wanted", " x 2"});
  }
  SmallFile embedding;
  embedding.tensors["token_embd.weight"].dims = {96, 40};
  expect_refused(embedding, {"token_embd.weight", "96 x 40", "wanted 64 x 40"});
}

TEST(Refusal, AnUnsupportedTensorTypeByNameWithTheSupportedOnes) {
  SmallFile small;
  small.tensors["blk.1.ffn_up.weight"].type = 42;
  expect_refused(small, {"blk.1.ffn_up.weight", "Q2_0", "not supported",
                         std::string(quant::supported_names())});
  SmallFile norm;
  norm.tensors["blk.0.attn_norm.weight"].type = 1;
  expect_refused(norm, {"blk.0.attn_norm.weight", "F16", "wanted F32"});
}

TEST(Refusal, RopeThatCannotBe) {
  SmallFile odd, large, unknown;
  odd.set("rope.dimension_count", 7u);
  expect_refused(odd, {"rope.dimension_count", "7", "odd"});
  large.set("rope.dimension_count", 18u);  // the head has 16
  expect_refused(large, {"rope.dimension_count", "18", "16"});
  unknown.set("rope.scaling.type", std::string("dynamic"));
  expect_refused(unknown, {"rope.scaling.type", "dynamic", "none, linear, yarn, longrope"});
  SmallFile factor;
  factor.set("rope.scaling.type", std::string("linear"));
  factor.set("rope.scaling.factor", -2.0f);
  expect_refused(factor, {"rope.scaling.factor"});
}

/// Rotating pairs needs two lanes: a head of odd width has a last lane without a partner.
TEST(Refusal, AnOddHeadWithoutItsOwnRopeDimension) {
  SmallFile small;
  small.set("attention.key_length", 15u);
  expect_refused(small, {"15", "odd"});
}

TEST(Refusal, WhatAVariantNeedsAndLlamaLacks) {
  for (const char* key : {"expert_count", "expert_used_count", "expert_group_count"}) {
    SmallFile small, zero;
    small.set(key, 8u);
    const bool count = std::string(key) == "expert_count";  // 0 of 8 are used
    expect_refused(small, {std::string("llama.") + (count ? "expert_used_count" : key), "llama"});
    zero.set(key, 0u);  // "not used"
    EXPECT_TRUE(Built(zero).program) << key;
  }
  SmallFile backward;
  backward.set("attention.causal", false);
  expect_refused(backward, {"llama.attention.causal"});
  backward.set("attention.causal", true);
  EXPECT_TRUE(Built(backward).program);
}

TEST(Refusal, ATensorThatNothingUses) {
  for (const char* name :
       {"blk.0.attn_q_norm.weight", "blk.2.attn_norm.weight", "rope_factors_long.weight"}) {
    SmallFile small;
    small.tensors[name] = {0, {64}};
    expect_refused(small, {name});
  }
}

// A file's text reaches the terminal in these: no escapes, no second line, no megabytes.
TEST(Refusal, TextOfTheFileIsShownAsPrintableAscii) {
  const std::string wild = "\x1b[2J\n";
  SmallFile tensor, architecture, scaling, lengthy;
  tensor.tensors[wild] = {0, {64}};
  expect_refused(tensor, {"\\x1b[2J\\x0a"});
  architecture.keys["general.architecture"] = wild;
  expect_refused(architecture, {"\\x1b[2J\\x0a"});
  scaling.set("rope.scaling.type", wild);
  expect_refused(scaling, {"\\x1b[2J\\x0a"});
  lengthy.keys["general.architecture"] = std::string(1000000, 'x');
  EXPECT_LT(Built(lengthy).error.size(), 1500u);  // with the names of all that are supported
}

TEST(Refusal, TokensBeyondTheEmbeddingsRows) {
  SmallFile small;
  for (int i = 0; i < 40; ++i) small.tokens.push_back(std::to_string(i));
  EXPECT_TRUE(Built(small).program);
  small.tokens.push_back("one more");
  expect_refused(small, {"41 tokens", "40 rows"});
  SmallFile size;
  size.set("vocab_size", 41u);
  expect_refused(size, {"vocab_size", "40"});
}

}  // namespace
}  // namespace assay::tests
