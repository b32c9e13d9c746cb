// The program of a llama file: its numbers, its optional tensors, its scaling.
#include <cmath>

#include "op/rope.h"
#include "small_file.h"

namespace assay::tests {
namespace {

TEST(Llama, BecomesAProgramOfItsNumbers) {
  const Built built{SmallFile()};
  ASSERT_TRUE(built.program) << built.error;
  const op::Program& program = *built.program;
  EXPECT_EQ(program.layers, 2u);
  EXPECT_EQ(program.width, 64u);
  EXPECT_EQ(program.vocabulary, 40u);
  EXPECT_EQ(program.trained_context, 256u);
  EXPECT_EQ(program.caches, std::vector(program.layers, op::CacheShape{2, 16, 16}));
  const op::AttentionShape attention = program.attention_of(*find(program, "blk.1.kqv"));
  EXPECT_EQ(attention.heads, 4u);
  EXPECT_EQ(attention.scale, 0.25f);  // 1/√16
  EXPECT_EQ(program.rope_tables.at(0).dimensions, 16u);
  EXPECT_TRUE(program.rope_tables.at(0).adjacent);
  // embed; 16 operations a block; select_rows, norm, head.
  ASSERT_EQ(program.operations.size(), 1 + 2 * 16 + 3);
  EXPECT_TRUE(program.operations.front().is<op::Embed>());
  EXPECT_EQ(program.operations.back().name, "logits");
  const char* order[] = {
      "attn_norm",     "q",        "k",    "v",  "q_rope", "k_rope", "kv", "kqv", "attn_out",
      "attn_residual", "ffn_norm", "gate", "up", "act",    "down",   "out"};
  for (size_t layer = 0; layer < 2; ++layer)
    for (size_t i = 0; i < 16; ++i)
      EXPECT_EQ(program.operations[1 + 16 * layer + i].name,
                "blk." + std::to_string(layer) + "." + order[i]);
  for (const char* name : {"blk.0.attn_norm", "blk.1.ffn_norm", "out_norm"})
    EXPECT_EQ(find(program, name)->as<op::RmsNorm>()->eps, 1e-5f) << name;
}

TEST(Llama, TiesTheHeadToTheEmbeddingOnlyWithoutItsOwn) {
  SmallFile small;
  const Built tied(small);
  ASSERT_TRUE(tied.program) << tied.error;
  EXPECT_EQ(tied.program->weights[find(*tied.program, "logits")->weight].name, "token_embd.weight");
  EXPECT_EQ(find(*tied.program, "logits")->weight, find(*tied.program, "embd")->weight);
  small.tensors["output.weight"] = {14, {256, 40}};  // of another width: refused
  expect_refused(small, {"output.weight", "256 x 40", "64 x 40"});
  small.tensors["output.weight"] = {1, {64, 40}};
  const Built own(small);
  ASSERT_TRUE(own.program) << own.error;
  EXPECT_EQ(own.program->weights[find(*own.program, "logits")->weight].name, "output.weight");
}

TEST(Llama, TakesEachBiasThatTheFileHas) {
  SmallFile small;
  const std::map<std::string, uint64_t> biases = {
      {"attn_q", 64},   {"attn_k", 32}, {"attn_v", 32},  {"attn_output", 64},
      {"ffn_gate", 96}, {"ffn_up", 96}, {"ffn_down", 64}};
  const std::map<std::string, std::string> names = {
      {"attn_q", "q"},      {"attn_k", "k"},  {"attn_v", "v"},     {"attn_output", "attn_out"},
      {"ffn_gate", "gate"}, {"ffn_up", "up"}, {"ffn_down", "down"}};
  for (const auto& [tensor, n] : biases) small.tensors["blk.1." + tensor + ".bias"] = {0, {n}};
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  for (const auto& [tensor, name] : names) {
    const op::Operation* with = find(*built.program, "blk.1." + name);
    ASSERT_NE(with->bias, op::none) << name;
    EXPECT_EQ(built.program->weights[with->bias].name, "blk.1." + tensor + ".bias");
    EXPECT_EQ(find(*built.program, "blk.0." + name)->bias, op::none) << name;
  }
  small.tensors["blk.1.attn_k.bias"] = {0, {64}};
  expect_refused(small, {"blk.1.attn_k.bias", "64", "wanted 32"});
  small.tensors["blk.1.attn_k.bias"] = {1, {32}};
  expect_refused(small, {"blk.1.attn_k.bias", "F16", "wanted F32"});
}

TEST(Llama, HeadDimensionsMayDifferFromWidthOverHeads) {
  SmallFile small;
  small.set("attention.key_length", 32u);
  small.set("attention.value_length", 24u);
  for (const char* layer : {"blk.0.", "blk.1."}) {
    small.tensors[std::string(layer) + "attn_q.weight"] = {8, {64, 128}};
    small.tensors[std::string(layer) + "attn_k.weight"] = {8, {64, 64}};
    small.tensors[std::string(layer) + "attn_v.weight"] = {8, {64, 48}};
    small.tensors[std::string(layer) + "attn_output.weight"] = {8, {96, 64}};
  }
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(built.program->caches.at(1), (op::CacheShape{2, 32, 24}));
  EXPECT_EQ(built.program->attention_of(*find(*built.program, "blk.1.kqv")).scale,
            float(1 / std::sqrt(32.0)));
  EXPECT_EQ(built.program->rope_tables[0].dimensions, 32u);
}

TEST(Llama, WithoutKvHeadsEveryHeadHasItsOwn) {
  SmallFile small;
  small.keys.erase("llama.attention.head_count_kv");
  expect_refused(small, {"blk.0.attn_k.weight", "64 x 32", "wanted 64 x 64"});
  for (const char* layer : {"blk.0.", "blk.1."})
    for (const char* name : {"attn_k.weight", "attn_v.weight"})
      small.tensors[std::string(layer) + name] = {8, {64, 64}};
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(built.program->caches.at(0).kv_heads, 4u);
}

/// frequency[i] = base^(−2i/16), exact at i = 0 (1) and i = 8/2 (base^-0.5).
TEST(LlamaRope, ReadsBaseDimensionsAndLinearScaling) {
  SmallFile small;
  const Built plain(small);
  ASSERT_TRUE(plain.program) << plain.error;
  ASSERT_EQ(plain.program->rope_tables[0].frequency.size(), 8u);
  EXPECT_EQ(plain.program->rope_tables[0].frequency[0], 1.0);
  EXPECT_NEAR(plain.program->rope_tables[0].frequency[4], 0.01, 1e-15);  // 10000^-0.5

  small.set("rope.freq_base", 1e6f);
  small.set("rope.dimension_count", 8u);
  small.set("rope.scaling.type", std::string("linear"));
  small.set("rope.scaling.factor", 4.0f);
  const Built linear(small);
  ASSERT_TRUE(linear.program) << linear.error;
  ASSERT_EQ(linear.program->rope_tables[0].frequency.size(), 4u);
  EXPECT_EQ(linear.program->rope_tables[0].frequency[0], 0.25);
  EXPECT_NEAR(linear.program->rope_tables[0].frequency[2], 1e-3 / 4, 1e-17);  // 1e6^-0.5 / 4
  EXPECT_EQ(linear.program->rope_tables[0].magnitude, 1.0);
}

TEST(LlamaRope, AFactorOfZeroOrAnOldScaleKeyMeansWhatItDid) {
  SmallFile small;
  small.set("rope.scaling.type", std::string("linear"));
  small.set("rope.scaling.factor", 0.0f);
  const Built zero(small);
  ASSERT_TRUE(zero.program) << zero.error;
  EXPECT_EQ(zero.program->rope_tables[0].frequency[0], 1.0);
  SmallFile old;
  old.set("rope.scale_linear", 2.0f);  // of files before rope.scaling.*
  const Built scaled(old);
  ASSERT_TRUE(scaled.program) << scaled.error;
  EXPECT_EQ(scaled.program->rope_tables[0].frequency[0], 0.5);
}

TEST(LlamaRope, ReadsYarn) {
  SmallFile small;
  small.set("rope.scaling.type", std::string("yarn"));
  small.set("rope.scaling.factor", 4.0f);
  small.set("rope.scaling.original_context_length", 64u);
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  const op::RopeTable& rope = built.program->rope_tables[0];
  // beta_fast 32: 64/(32·2π) = 0.318 < 1, so the ramp starts below pair 0 and is held at 0;
  // beta_slow 1: 16·ln(64/2π)/(2·ln 10000) = 2.016, up to 3. Pair 0 keeps its frequency, pair 3
  // and later are divided by 4, pair 1 is a third of the way.
  EXPECT_NEAR(rope.magnitude, 1 + 0.1 * std::log(4.0), 1e-12);
  const double base1 = std::pow(10000.0, -2.0 / 16), base3 = std::pow(10000.0, -6.0 / 16);
  EXPECT_NEAR(rope.frequency[0], 1.0, 1e-12);
  EXPECT_NEAR(rope.frequency[1], base1 * (1.0 / 3 / 4 + 2.0 / 3), 1e-12);
  EXPECT_NEAR(rope.frequency[3], base3 / 4, 1e-12);
}

TEST(LlamaRope, DividesByTheFactorsOfTheFile) {
  SmallFile small;
  small.tensors["rope_freqs.weight"] = {0, {8}, {1, 1, 2, 2, 4, 4, 8, 8}};
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  const Built plain{SmallFile()};
  const float factors[] = {1, 1, 2, 2, 4, 4, 8, 8};
  for (size_t i = 0; i < 8; ++i)
    EXPECT_EQ(built.program->rope_tables[0].frequency[i],
              plain.program->rope_tables[0].frequency[i] / factors[i])
        << i;
  small.tensors["rope_freqs.weight"] = {0, {4}, {1, 1, 1, 1}};
  expect_refused(small, {"rope_freqs.weight", "wanted 8"});
  small.tensors["rope_freqs.weight"] = {0, {8}, {1, 1, 1, 0, 1, 1, 1, 1}};
  expect_refused(small, {"rope_freqs.weight"});
  for (const float factor : {NAN, INFINITY, 0.0f}) {
    small.tensors["rope_freqs.weight"] = {0, {8}, {1, 1, 1, factor, 1, 1, 1, 1}};
    expect_refused(small, {"rope_freqs.weight", "finite and not 0"});
  }
  // Any other factor is the file's own matter.
  small.tensors["rope_freqs.weight"] = {0, {8}, {1, -1, 1, 3e-5f, 1, 1e8f, 1, 1}};
  const Built wild(small);
  ASSERT_TRUE(wild.program) << wild.error;
  EXPECT_EQ(wild.program->rope_tables[0].frequency[1], -plain.program->rope_tables[0].frequency[1]);
  // 256 positions of 1/1e-6 radians are beyond what sin and cos are exact for.
  small.tensors["rope_freqs.weight"] = {0, {8}, {1e-6f, 1, 1, 1, 1, 1, 1, 1}};
  expect_refused(small, {"256 positions", "beyond 2^24"});
}

}  // namespace
}  // namespace assay::tests
