// What architectures have beside each other, one test a trait: which operations, with which
// numbers, from which tensors; and what is refused.
#include <algorithm>
#include <cmath>

#include "model/missing.h"
#include "model/small_architectures.h"

namespace assay::tests {
namespace {

constexpr uint32_t F32 = 0, Q8_0 = 8;

const op::Operation& at(const Built& built, const std::string& name) {
  const op::Operation* operation = find(*built.program, name);
  if (!operation) throw std::runtime_error("no operation " + name);
  return *operation;
}

std::string input_of(const Built& built, const std::string& name, size_t i = 0) {
  return built.program->values[at(built, name).inputs[i]].name;
}

uint32_t window_of(const Built& built, uint32_t layer) {
  return at(built, "blk." + std::to_string(layer) + ".kqv").as<op::Attend>()->window;
}

TEST(Traits, EveryArchitectureIsListedOnceAndLacksNothing) {
  std::vector<std::string> names = model::architectures();
  EXPECT_GE(names.size(), 80u);
  for (const std::string& name : names)
    EXPECT_EQ(model::what_is_missing(name), "") << name << " runs, and is said to lack something";
  std::ranges::sort(names);
  EXPECT_TRUE(std::ranges::adjacent_find(names) == names.end());
}

TEST(Traits, WhatIsMissingIsSaidByName) {
  for (const auto& [name, part] :
       std::map<std::string, std::string>{{"mamba2", "recurrent"},
                                          {"qwen35moe", "gated delta net"},
                                          {"deepseek2", "latent attention"},
                                          {"bert", "encoder"},
                                          {"llada", "attention without order"},
                                          {"lfm2", "convolutions"},
                                          {"clip", "images"},
                                          {"phimoe", "sparse mixer"}}) {
    SmallFile small;
    small.keys["general.architecture"] = name;
    expect_refused(small, {"architecture '" + name + "' is not supported: ", part});
  }
}

TEST(Traits, BlocksMayBeParallelFromOneNorm) {
  SmallFile small = named("plamo");
  each_block([&](const std::string& blk) { small.tensors.erase(blk + "ffn_norm.weight"); });
  small.tensors["output.weight"] = {Q8_0, {64, 40}};
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(input_of(built, "blk.0.q"), "blk.0.attn_norm");
  EXPECT_EQ(input_of(built, "blk.0.gate"), "blk.0.attn_norm");
  EXPECT_EQ(input_of(built, "blk.0.out", 0), "blk.0.attn_residual");
  EXPECT_EQ(input_of(built, "blk.0.out", 1), "blk.0.down");
  EXPECT_EQ(at(built, "blk.0.out").role, op::Role::block_output);
  small.tensors["blk.0.ffn_norm.weight"] = {F32, {64}};
  expect_refused(small, {"blk.0.ffn_norm.weight", "not used"});
}

TEST(Traits, AKeyOrATensorMakesBlocksParallel) {
  SmallFile neox = named("gptneox");
  neox.tensors["output.weight"] = {Q8_0, {64, 40}};
  neox.tensors["output_norm.bias"] = {F32, {64}};
  each_block([&](const std::string& blk) {
    neox.fuse_attention(blk[4] - '0');
    neox.tensors.erase(blk + "ffn_gate.weight");
  });
  add_vectors(neox, {{"attn_norm.bias", 64},
                     {"ffn_norm.bias", 64},
                     {"attn_qkv.bias", 128},
                     {"attn_output.bias", 64},
                     {"ffn_up.bias", 96},
                     {"ffn_down.bias", 64}});
  expect_refused(neox, {"gptneox.use_parallel_residual", "missing"});
  for (const bool parallel : {true, false}) {
    neox.set("use_parallel_residual", parallel);
    const Built built(neox);
    ASSERT_TRUE(built.program) << built.error;
    EXPECT_EQ(input_of(built, "blk.1.ffn_norm"), parallel ? "blk.0.out" : "blk.1.attn_residual");
    EXPECT_TRUE(at(built, "blk.1.ffn_norm").is<op::LayerNorm>());
    EXPECT_NE(at(built, "blk.1.ffn_norm").bias, op::none);
    EXPECT_EQ(at(built, "blk.1.act").as<op::Activate>()->activation, op::Activation::gelu_tanh);
  }
  neox.set("hidden_activation", std::string("gelu"));
  EXPECT_EQ(at(Built(neox), "blk.1.act").as<op::Activate>()->activation, op::Activation::gelu_erf);
  neox.set("hidden_activation", std::string("relu"));
  expect_refused(neox, {"gptneox.hidden_activation 'relu'", "supported: gelu"});

  SmallFile stable = named("stablelm");
  stable.tensors["output.weight"] = {Q8_0, {64, 40}};
  EXPECT_EQ(input_of(Built(stable), "blk.0.gate"), "blk.0.ffn_norm");
  stable.tensors.erase("blk.0.ffn_norm.weight");
  EXPECT_EQ(input_of(Built(stable), "blk.0.gate"), "blk.0.attn_norm");
  EXPECT_EQ(input_of(Built(stable), "blk.1.gate"), "blk.1.ffn_norm");
}

TEST(Traits, NormsMayStandAfterAttentionAndFeedForwardAlone) {
  const SmallFile small = olmo2();
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(input_of(built, "blk.0.q"), "embd");
  EXPECT_EQ(at(built, "blk.0.q_norm").as<op::RmsNorm>()->parts, 1u);  // over all heads
  EXPECT_EQ(input_of(built, "blk.0.attn_residual", 1), "blk.0.attn_post_norm");
  EXPECT_EQ(input_of(built, "blk.0.gate"), "blk.0.attn_residual");
  EXPECT_EQ(input_of(built, "blk.0.out", 1), "blk.0.ffn_post_norm");
}

TEST(Traits, HeadsMayHaveWeightsOfTheirOwnOrNoneOrANormAfterRope) {
  SmallFile stable = named("stablelm");
  stable.tensors["output.weight"] = {Q8_0, {64, 40}};
  each_block([&](const std::string& blk) {
    stable.tensors[blk + "attn_q_norm.weight"] = {F32, {16, 4}};
  });
  const Built own(stable);
  ASSERT_TRUE(own.program) << own.error;
  EXPECT_EQ(at(own, "blk.0.q_norm").as<op::LayerNorm>()->parts, 4u);
  EXPECT_EQ(own.program->weights[at(own, "blk.0.q_norm").weight].columns, 64u);
  EXPECT_EQ(find(*own.program, "blk.0.k_norm"), nullptr);  // each is there by itself
  stable.tensors["blk.1.attn_q_norm.weight"] = {F32, {16, 2}};
  expect_refused(stable, {"blk.1.attn_q_norm.weight", "16 x 2", "wanted 16 x 4"});

  SmallFile after = named("maincoder");
  add_vectors(after, {{"attn_q_norm.weight", 16}, {"attn_k_norm.weight", 16}});
  const Built late(after);
  ASSERT_TRUE(late.program) << late.error;
  EXPECT_EQ(input_of(late, "blk.0.q_norm"), "blk.0.q_rope");
  EXPECT_EQ(input_of(late, "blk.0.kv"), "blk.0.k_norm");

  SmallFile bare = named("olmo");
  bare.tensors.erase("output_norm.weight");
  each_block([&](const std::string& blk) {
    bare.tensors.erase(blk + "attn_norm.weight");
    bare.tensors.erase(blk + "ffn_norm.weight");
  });
  const Built ones(bare);
  ASSERT_TRUE(ones.program) << ones.error;
  EXPECT_TRUE(at(ones, "out_norm").is<op::LayerNorm>());
  EXPECT_EQ(weight_of(*ones.program, "out_norm"), "ones(64)");
  bare.tensors["output_norm.weight"] = {F32, {64}};
  expect_refused(bare, {"output_norm.weight", "not used"});
}

TEST(Windows, FollowThePeriodOrTheList) {
  SmallFile small = gemma("gemma3");
  EXPECT_EQ(window_of(Built(small), 0), 0u);  // none without the key
  EXPECT_EQ(Built(small).program->rope_tables.size(), 1u);
  small.set("attention.sliding_window", 5u);
  small.set("rope.scaling.factor", 8.0f);
  small.set("rope.freq_base", 1e6f);
  small.set("attention.sliding_window_pattern", 2u);
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(window_of(built, 0), 5u);
  EXPECT_EQ(window_of(built, 1), 0u);
  // A layer with a window turns by base 10000 and no factor; its own key says another base.
  const op::RopeTable& windowed = built.program->rope_of(at(built, "blk.0.q_rope"));
  const op::RopeTable& whole = built.program->rope_of(at(built, "blk.1.q_rope"));
  EXPECT_EQ(windowed.frequency[0], 1.0);
  EXPECT_NEAR(windowed.frequency[4], 0.01, 1e-12);
  EXPECT_EQ(whole.frequency[0], 0.125);
  EXPECT_NEAR(whole.frequency[4], 1e-3 / 8, 1e-13);
  small.set("rope.freq_base_swa", 100.0f);
  const Built other(small);
  EXPECT_NEAR(other.program->rope_of(at(other, "blk.0.k_rope")).frequency[4], 0.1, 1e-12);
  small.set("attention.sliding_window_pattern", std::vector<int32_t>{0, 1});
  EXPECT_EQ(window_of(Built(small), 0), 0u);
  EXPECT_EQ(window_of(Built(small), 1), 5u);
  small.set("attention.key_length_swa", 8u);
  expect_refused(small, {"gemma3.attention.key_length_swa", "8", "does not implement"});
}

TEST(Windows, MayDecideWhoTurns) {
  SmallFile small = named("cohere2");
  small.set("logit_scale", 0.25f);
  each_block([&](const std::string& blk) { small.tensors.erase(blk + "ffn_norm.weight"); });
  expect_refused(small, {"cohere2.attention.sliding_window", "missing"});
  small.set("attention.sliding_window", 32u);
  small.set("attention.sliding_window_pattern", 2u);
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_NE(find(*built.program, "blk.0.q_rope"), nullptr);
  EXPECT_EQ(find(*built.program, "blk.1.q_rope"), nullptr);
  EXPECT_EQ(input_of(built, "blk.1.kqv"), "blk.1.q");
  EXPECT_EQ(built.program->operations.back().name, "logits_scaled");
  EXPECT_EQ(built.program->operations.back().role, op::Role::logits);
  EXPECT_EQ(built.program->operations.back().as<op::Scale>()->factor, 0.25f);
  EXPECT_EQ(at(built, "logits").role, op::Role::inner);
}

TEST(Rope, IsLeftOutInEveryFourthLayerUnlessAListSaysOtherwise) {
  SmallFile small("smollm3");
  small.set("block_count", 4u);
  for (const char* blk : {"blk.2.", "blk.3."})
    for (const auto& [name, tensor] : SmallFile().tensors)
      if (name.starts_with("blk.0.")) small.tensors[blk + name.substr(6)] = tensor;
  const auto turning = [&] {
    std::string which;
    const Built built(small);
    EXPECT_TRUE(built.program) << built.error;
    for (const char c : {'0', '1', '2', '3'})
      if (find(*built.program, std::string("blk.") + c + ".q_rope")) which += c;
    return which;
  };
  EXPECT_EQ(turning(), "012");
  small.set("attention.rope_pattern", std::vector<int32_t>{0, 1, 0, 1});
  EXPECT_EQ(turning(), "13");
  small.set("attention.rope_pattern", std::vector<int32_t>{0, 1});
  expect_refused(small, {"smollm3.attention.rope_pattern", "each of 4 blocks"});
}

TEST(Rope, YarnHasItsKeysAndALogMultiplierWhereTheyAreRead) {
  SmallFile small("mistral3");
  small.set("rope.scaling.type", std::string("yarn"));
  small.set("rope.scaling.factor", 4.0f);
  small.set("rope.scaling.original_context_length", 64u);
  const double growth = 1 + 0.1 * std::log(4.0);
  EXPECT_NEAR(Built(small).program->rope_tables[0].magnitude, growth, 1e-12);
  small.set("rope.scaling.yarn_log_multiplier", 1.0f);
  EXPECT_NEAR(Built(small).program->rope_tables[0].magnitude, 1.0, 1e-12);
  small.set("rope.scaling.yarn_log_multiplier", 0.5f);
  EXPECT_NEAR(Built(small).program->rope_tables[0].magnitude, growth / (1 + 0.05 * std::log(4.0)),
              1e-9);
  const auto before = Built(small).program->rope_tables[0].frequency;
  small.set("rope.scaling.yarn_beta_slow", 0.1f);
  EXPECT_NE(Built(small).program->rope_tables[0].frequency, before);
  small.set("rope.scaling.yarn_ext_factor", 0.5f);
  expect_refused(small, {"mistral3.rope.scaling.yarn_ext_factor is 0.5"});
}

TEST(Rope, QueriesGrowWithThePosition) {
  SmallFile small("mistral3");
  EXPECT_EQ(find(*Built(small).program, "blk.0.q_scaled"), nullptr);  // off without the key
  small.set("attention.temperature_scale", 0.25f);
  small.set("rope.scaling.original_context_length", 16u);
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  const auto* scale = at(built, "blk.1.q_scaled").as<op::PositionScale>();
  ASSERT_NE(scale, nullptr);
  const op::PositionGrowth& growth = *built.program->rope_tables[scale->table].growth;
  EXPECT_EQ(growth.slope, 0.25);
  EXPECT_EQ(growth.every, 16u);
  EXPECT_EQ(growth.offset, 0u);
  EXPECT_EQ(input_of(built, "blk.1.q_scaled"), "blk.1.q_rope");
}

TEST(Rope, AFourthSectionDoesNotTurnAndThreeAreAsNone) {
  SmallFile small("qwen2vl");
  expect_refused(small, {"qwen2vl.rope.dimension_sections is missing"});
  small.set("rope.dimension_sections", std::vector<int32_t>{3, 3, 2, 0});
  const auto all = Built(small).program->rope_tables[0].frequency;
  EXPECT_EQ(all, Built(SmallFile("qwen2")).program->rope_tables[0].frequency);
  small.set("rope.dimension_sections", std::vector<int32_t>{2, 2, 2, 2});
  const auto held = Built(small).program->rope_tables[0].frequency;
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(held[i], i < 6 ? all[i] : 0.0) << i;
}

TEST(Attention, HasSinksGatesCapsAndAlibi) {
  SmallFile spark("spark2_5");
  spark.set("attention.sliding_window", 8u);
  spark.set("attention.sliding_window_pattern", std::vector<int32_t>{1, 0});
  each_block([&](const std::string& blk) {
    spark.tensors[blk + "attn_gate.weight"] = {Q8_0, {64, 4}};
  });
  const Built gated(spark);
  ASSERT_TRUE(gated.program) << gated.error;
  EXPECT_EQ(gated.program->values[at(gated, "blk.0.attn_gate").output].width, 4u);  // per head
  EXPECT_EQ(at(gated, "blk.0.attn_gated").as<op::Gate>()->activation, op::Activation::sigmoid);
  EXPECT_EQ(input_of(gated, "blk.0.attn_gate"), "blk.0.attn_norm");
  each_block([&](const std::string& blk) {
    spark.tensors[blk + "attn_gate.weight"] = {Q8_0, {64, 64}};
  });
  const Built wide(spark);
  EXPECT_EQ(wide.program->values[at(wide, "blk.0.attn_gate").output].width, 64u);  // per element
  spark.tensors["blk.1.attn_gate.weight"] = {Q8_0, {64, 8}};
  expect_refused(spark, {"blk.1.attn_gate.weight", "64 x 8"});

  SmallFile two = gemma("gemma2");
  const Built capped(two);
  ASSERT_TRUE(capped.program) << capped.error;
  EXPECT_EQ(at(capped, "blk.0.kqv").as<op::Attend>()->soft_cap, 50.0f);
  EXPECT_EQ(window_of(capped, 0), 4096u);
  EXPECT_EQ(window_of(capped, 1), 0u);
  EXPECT_EQ(capped.program->operations.back().as<op::SoftCap>()->cap, 30.0f);
  EXPECT_EQ(at(capped, "embd_scaled").as<op::Scale>()->factor, 8.0f);  // √64
  two.set("final_logit_softcapping", 0.0f);
  two.set("attn_logit_softcapping", 7.0f);
  two.set("attention.scale", 0.5f);
  const Built changed(two);
  EXPECT_EQ(changed.program->operations.back().name, "logits");
  EXPECT_EQ(at(changed, "blk.0.kqv").as<op::Attend>()->soft_cap, 7.0f);
  EXPECT_EQ(at(changed, "blk.0.kqv").as<op::Attend>()->scale, 0.5f);

  SmallFile refact("refact");
  const Built alibi(refact);
  ASSERT_TRUE(alibi.program) << alibi.error;
  EXPECT_EQ(at(alibi, "blk.0.kqv").as<op::Attend>()->alibi, 8.0f);
  EXPECT_TRUE(alibi.program->rope_tables.empty());
  refact.set("expert_count", 4u);
  refact.set("expert_used_count", 2u);
  expect_refused(refact, {"refact.expert_count", "does not implement"});
}

TEST(Experts, OfGptOss) {
  SmallFile small = gpt_oss();
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(weight_of(*built.program, "blk.1.kqv"), "blk.1.attn_sinks.weight");
  EXPECT_EQ(window_of(built, 0), 8u);
  EXPECT_EQ(window_of(built, 1), 0u);
  const auto* route = at(built, "blk.0.routing").as<op::Route>();
  ASSERT_NE(route, nullptr);
  EXPECT_EQ(route->used, 2u);
  EXPECT_EQ(route->of_chosen, 1u);
  EXPECT_EQ(route->renormalise, 0u);
  EXPECT_EQ(weight_of(*built.program, "blk.0.router", true), "blk.0.ffn_gate_inp.bias");
  EXPECT_EQ(at(built, "blk.0.experts_act").as<op::Gate>()->activation,
            op::Activation::silu_clamped);
  const op::Operation& up = at(built, "blk.0.experts_up");
  EXPECT_EQ(up.as<op::MatmulExperts>()->experts, 4u);
  EXPECT_EQ(built.program->weights[up.weight].rows, 4u * 32);
  EXPECT_EQ(built.program->weights[up.bias].rows, 4u);
  EXPECT_EQ(built.program->values[up.output].width, 2u * 32);
  EXPECT_EQ(built.program->values[at(built, "blk.0.experts").output].width, 64u);
  EXPECT_EQ(input_of(built, "blk.0.out", 1), "blk.0.experts");
  for (const char* name : {"blk.0.attn_sinks.weight", "blk.1.ffn_up_exps.bias",
                           "blk.1.ffn_gate_inp.bias", "blk.0.ffn_down_exps.weight"}) {
    SmallFile missing = small;
    missing.tensors.erase(name);
    expect_refused(missing, {name, "missing"});
  }
  small.tensors["blk.0.ffn_down_exps.weight"] = {Q8_0, {32, 64, 3}};
  expect_refused(small, {"blk.0.ffn_down_exps.weight", "32 x 64 x 3", "wanted 32 x 64 x 4"});
  // YaRN's ramp is not rounded to whole pairs, as in the model's own code.
  SmallFile yarn = gpt_oss();
  yarn.set("rope.scaling.type", std::string("yarn"));
  yarn.set("rope.scaling.factor", 4.0f);
  yarn.set("rope.scaling.original_context_length", 64u);
  SmallFile whole("qwen2");
  whole.set("rope.scaling.type", std::string("yarn"));
  whole.set("rope.scaling.factor", 4.0f);
  whole.set("rope.scaling.original_context_length", 64u);
  EXPECT_NE(Built(yarn).program->rope_tables[0].frequency,
            Built(whole).program->rope_tables[0].frequency);
}

TEST(Experts, RoutersFollowTheirKeys) {
  SmallFile small = glm4moe();
  const auto route = [&] { return *at(Built(small), "blk.1.routing").as<op::Route>(); };
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(route().sigmoid, 1u);  // where no key says it
  EXPECT_EQ(route().scale, 1.0f);
  EXPECT_EQ(weight_of(*built.program, "blk.1.routing", true), "blk.1.exp_probs_b.bias");
  EXPECT_EQ(input_of(built, "blk.1.experts_sum", 1), "blk.1.shared_down");
  small.set("expert_gating_func", 1u);
  small.set("expert_weights_norm", true);
  small.set("expert_weights_scale", 2.5f);
  small.set("expert_group_count", 4u);
  small.set("expert_group_used_count", 2u);
  EXPECT_EQ(route().sigmoid, 0u);
  EXPECT_EQ(route().renormalise, 1u);
  EXPECT_EQ(route().scale, 2.5f);
  EXPECT_EQ(route().groups, 4u);
  EXPECT_EQ(route().used_groups, 2u);
  EXPECT_EQ(route().by_two, 1u);
  SmallFile wrong = small;
  wrong.set("expert_group_count", 3u);
  expect_refused(wrong, {"glm4moe.expert_group_count is 3"});
  wrong = small;
  wrong.set("expert_group_used_count", 5u);
  expect_refused(wrong, {"expert_group_used_count is 5", "1 to 4"});
  wrong = small;
  wrong.set("expert_used_count", 5u);
  expect_refused(wrong, {"expert_group_count is 4", "5 of 8"});
  for (const uint32_t code : {4u, 7u}) {
    wrong = small;
    wrong.set("expert_gating_func", code);
    expect_refused(wrong, {"glm4moe.expert_gating_func is " + std::to_string(code), "sigmoid"});
  }
  wrong = small;
  wrong.set("expert_gating_func", 3u);
  expect_refused(wrong, {"exp_probs_b", "softmax of the chosen"});
  wrong = small;
  wrong.tensors.erase("blk.0.exp_probs_b.bias");
  expect_refused(wrong, {"blk.0.exp_probs_b.bias", "missing"});
  wrong = small;
  wrong.set("expert_used_count", 9u);
  expect_refused(wrong, {"expert_used_count is 9, of 8 experts"});
}

TEST(Experts, BeginAfterTheDenseBlocksAndComeInOneTensorOrTwo) {
  SmallFile small = named("deepseek");
  add_experts(small);
  add_shared(small, 32);
  small.set("expert_shared_count", 1u);
  small.set("leading_dense_block_count", 1u);
  for (const char* name : {"ffn_gate.weight", "ffn_up.weight"})
    small.tensors[std::string("blk.0.") + name] = {Q8_0, {64, 96}};
  small.tensors["blk.0.ffn_down.weight"] = {Q8_0, {96, 64}};
  std::erase_if(small.tensors, [](const auto& one) {
    return one.first.starts_with("blk.0.") && (one.first.find("exp") != std::string::npos ||
                                               one.first.find("inp") != std::string::npos);
  });
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_NE(find(*built.program, "blk.0.gate"), nullptr);
  EXPECT_EQ(find(*built.program, "blk.0.routing"), nullptr);
  EXPECT_NE(find(*built.program, "blk.1.routing"), nullptr);
  EXPECT_EQ(at(built, "blk.1.routing").as<op::Route>()->renormalise, 0u);
  small.tensors["blk.1.ffn_gate_up_exps.weight"] = {Q8_0, {64, 64, 4}};
  small.tensors.erase("blk.1.ffn_gate_exps.weight");
  small.tensors.erase("blk.1.ffn_up_exps.weight");
  const Built fused(small);
  ASSERT_TRUE(fused.program) << fused.error;
  const auto* up = at(fused, "blk.1.experts_up").as<op::Slice>();
  ASSERT_NE(up, nullptr);
  EXPECT_EQ(up->first, 32u);
  EXPECT_EQ(up->width, 32u);
  EXPECT_EQ(up->parts, 2u);  // of each chosen expert
  EXPECT_EQ(at(fused, "blk.1.experts_gate").as<op::Slice>()->first, 0u);
}

TEST(Experts, WithoutTheirKeysAreRefused) {
  SmallFile small = named("qwen3moe");
  add_experts(small);
  add_vectors(small, {{"attn_q_norm.weight", 16}, {"attn_k_norm.weight", 16}});
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(at(built, "blk.0.routing").as<op::Route>()->renormalise, 1u);
  SmallFile none = small;
  none.keys.erase("qwen3moe.expert_count");
  none.keys.erase("qwen3moe.expert_used_count");
  expect_refused(none, {"qwen3moe.expert_count is missing"});
  SmallFile share = small;  // the width is then a share of feed_forward_length
  share.keys.erase("qwen3moe.expert_feed_forward_length");
  expect_refused(share, {"blk.0.ffn_gate_exps.weight", "64 x 32 x 4", "wanted 64 x 48 x 4"});
  SmallFile scaled = small;
  scaled.tensors["blk.0.ffn_up_exps.scale"] = {F32, {4}};
  const Built scales(scaled);
  ASSERT_TRUE(scales.program) << scales.error;
  EXPECT_TRUE(at(scales, "blk.0.experts_up").is<op::ScaleExperts>());
  EXPECT_TRUE(at(scales, "blk.0.experts_up_unscaled").is<op::MatmulExperts>());
}

TEST(Experts, OfLlama4ReadWeightedInputs) {
  SmallFile small = named("llama4");
  add_experts(small);
  add_shared(small, 32);
  small.set("interleave_moe_layer_step", 1u);
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_TRUE(at(built, "blk.0.experts_in").is<op::SpreadExperts>());
  EXPECT_EQ(input_of(built, "blk.0.experts_gate"), "blk.0.experts_in");
  EXPECT_EQ(at(built, "blk.0.experts").as<op::MixExperts>()->weighted, 0u);
  EXPECT_EQ(at(built, "blk.0.routing").as<op::Route>()->sigmoid, 1u);
  const auto* attend = at(built, "blk.0.kqv").as<op::Attend>();
  EXPECT_TRUE(attend->chunked);
  EXPECT_EQ(attend->window, 8192u);
  EXPECT_EQ(weight_of(*built.program, "blk.0.q_norm"), "ones(16)");
  EXPECT_EQ(input_of(built, "blk.0.q_norm"), "blk.0.q_rope");
}

TEST(Heads, MayDifferFromBlockToBlock) {
  SmallFile small("openelm");
  small.set("attention.head_count", std::vector<int32_t>{4, 2});
  small.set("attention.head_count_kv", std::vector<int32_t>{2, 1});
  small.set("feed_forward_length", std::vector<int32_t>{96, 32});
  small.set("attention.key_length", 16u);
  small.set("attention.value_length", 16u);
  add_vectors(small, {{"attn_q_norm.weight", 16}, {"attn_k_norm.weight", 16}});
  small.fuse_attention(0);
  small.fuse_attention(1);
  small.tensors["blk.1.attn_qkv.weight"] = {Q8_0, {64, 64}};
  small.tensors["blk.1.attn_output.weight"] = {Q8_0, {32, 64}};
  small.tensors["blk.1.ffn_gate.weight"] = small.tensors["blk.1.ffn_up.weight"] = {Q8_0, {64, 32}};
  small.tensors["blk.1.ffn_down.weight"] = {Q8_0, {32, 64}};
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(built.program->caches[0], (op::CacheShape{2, 16, 16}));
  EXPECT_EQ(built.program->caches[1], (op::CacheShape{1, 16, 16}));
  EXPECT_EQ(at(built, "blk.1.kqv").as<op::Attend>()->heads, 2u);
  small.set("attention.head_count_kv", std::vector<int32_t>{2, 4});
  expect_refused(small, {"head_count 2", "head_count_kv 4"});
}

TEST(Heads, ABlockOfDeciMayLackAttentionOrTheFeedForwardPart) {
  SmallFile small("deci");
  small.set("attention.head_count", std::vector<int32_t>{4, 0});
  small.set("attention.head_count_kv", std::vector<int32_t>{2, 0});
  small.set("feed_forward_length", std::vector<int32_t>{0, 96});
  std::erase_if(small.tensors, [](const auto& one) {
    return one.first.starts_with("blk.0.ffn") || one.first.starts_with("blk.1.attn");
  });
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(input_of(built, "blk.0.out", 1), "blk.0.attn_out");  // what attention gave counts
  EXPECT_EQ(input_of(built, "blk.1.ffn_norm"), "blk.0.out");
  EXPECT_EQ(find(*built.program, "blk.1.kqv"), nullptr);
  EXPECT_EQ(at(built, "blk.0.out").role, op::Role::block_output);
}

TEST(Heads, LoopsRunTheSameWeightsWithCachesOfTheirOwn) {
  SmallFile small("nanbeige");
  small.set("num_loops", 2u);
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(built.program->caches.size(), 4u);
  EXPECT_EQ(built.program->layers, 4u);
  EXPECT_EQ(at(built, "blk.2.q").weight, at(built, "blk.0.q").weight);
  EXPECT_EQ(at(built, "blk.3.kqv").as<op::Attend>()->cache, 3u);
  EXPECT_EQ(weight_of(*built.program, "blk.1.out"), "output_norm.weight");  // between the passes
  small.set("skip_loop_final_norm", true);
  EXPECT_TRUE(at(Built(small), "blk.1.out").is<op::Add>());
}

TEST(Gemma4, HasLayersOfTwoKinds) {
  const Built built(gemma4());
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(built.program->caches[0], (op::CacheShape{2, 16, 16}));
  EXPECT_EQ(built.program->caches[1], (op::CacheShape{1, 32, 32}));
  EXPECT_EQ(at(built, "blk.1.kqv").as<op::Attend>()->scale, 1.0f);
  const op::RopeTable& whole = built.program->rope_of(at(built, "blk.1.q_rope"));
  EXPECT_EQ(whole.dimensions, 32u);
  EXPECT_EQ(whole.frequency[0], 0.5);  // the factors are for these layers
  EXPECT_EQ(built.program->rope_of(at(built, "blk.0.q_rope")).frequency[0], 1.0);
  EXPECT_EQ(built.program->rope_of(at(built, "blk.0.q_rope")).dimensions, 16u);
}

TEST(Gemma4, TakesValuesFromKeysAndCachesFromEarlierLayers) {
  const Built built(gemma4());
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(input_of(built, "blk.0.v_norm"), "blk.0.v");
  EXPECT_EQ(input_of(built, "blk.1.v_norm"), "blk.1.k");  // before its norm and RoPE
  EXPECT_EQ(weight_of(*built.program, "blk.1.v_norm"), "ones(32)");
  EXPECT_EQ(find(*built.program, "blk.2.kv"), nullptr);
  EXPECT_EQ(at(built, "blk.2.kqv").as<op::Attend>()->cache, 0u);
  SmallFile none = gemma4();
  none.set("attention.sliding_window_pattern", std::vector<int32_t>{0, 0, 1});
  expect_refused(none, {"gemma4.attention.shared_kv_layers is 1", "block 2"});
}

TEST(Gemma4, AddsAnEmbeddingOfEachLayer) {
  const Built built(gemma4());
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(at(built, "per_layer_embd_scaled").as<op::Scale>()->factor, float(std::sqrt(8.0)));
  EXPECT_EQ(at(built, "per_layer_proj_norm").as<op::RmsNorm>()->parts, 3u);
  EXPECT_EQ(at(built, "blk.2.per_layer_part").as<op::Slice>()->first, 16u);
  EXPECT_EQ(input_of(built, "blk.2.per_layer_gate"), "blk.2.ffn_residual");
  EXPECT_EQ(at(built, "blk.2.out").as<op::Scale>()->factor, 0.5f);
  EXPECT_EQ(at(built, "blk.2.out").role, op::Role::block_output);
  SmallFile without = gemma4();
  without.set("embedding_length_per_layer_input", 0u);
  expect_refused(without, {"not used", "gemma4"});
}

TEST(Positions, OfATableLimitTheContext) {
  SmallFile small = named("gpt2");
  small.tensors["position_embd.weight"] = {F32, {64, 256}};
  small.tensors["output_norm.bias"] = {F32, {64}};
  each_block([&](const std::string& blk) {
    small.fuse_attention(blk[4] - '0');
    small.tensors.erase(blk + "ffn_gate.weight");
  });
  add_vectors(small, {{"attn_norm.bias", 64},
                      {"ffn_norm.bias", 64},
                      {"attn_qkv.bias", 128},
                      {"attn_output.bias", 64},
                      {"ffn_up.bias", 96},
                      {"ffn_down.bias", 64}});
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_TRUE(at(built, "positions").as<op::Embed>()->of_position);
  EXPECT_EQ(input_of(built, "blk.0.attn_norm"), "embd_positioned");
  expect_refused(small, {"position_embd.weight has 256 rows", "-c 256 works"}, 257);
}

TEST(Scales, OfGranite) {
  SmallFile small("granite");
  expect_refused(small, {"granite.logit_scale is missing"});
  small.set("logit_scale", 8.0f);
  small.set("embedding_scale", 12.0f);
  small.set("residual_scale", 0.25f);
  small.set("attention.scale", 0.015625f);
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(at(built, "embd_scaled").as<op::Scale>()->factor, 12.0f);
  EXPECT_EQ(at(built, "blk.0.attn_scaled").as<op::Scale>()->factor, 0.25f);
  EXPECT_EQ(input_of(built, "blk.1.out", 1), "blk.1.ffn_scaled");
  EXPECT_EQ(at(built, "logits_scaled").as<op::Scale>()->factor, 0.125f);  // divides
  EXPECT_EQ(at(built, "blk.0.kqv").as<op::Attend>()->scale, 0.015625f);
  EXPECT_FALSE(built.program->rope_tables.empty());
  small.set("rope.scaling.finetuned", false);
  EXPECT_TRUE(Built(small).program->rope_tables.empty());
  small.set("deepstack_mapping", std::vector<int32_t>{-1, -1});
  EXPECT_TRUE(Built(small).program);
  small.set("deepstack_mapping", std::vector<int32_t>{-1, 0});
  expect_refused(small, {"granite.deepstack_mapping", "does not implement"});
  for (const char* key : {"embedding_scale", "residual_scale", "logit_scale"})
    small.set(key, 0.0f);  // off
  small.keys.erase("granite.deepstack_mapping");
  const Built off(small);
  ASSERT_TRUE(off.program) << off.error;
  EXPECT_EQ(off.program->operations.back().name, "logits");
  EXPECT_EQ(input_of(off, "blk.0.attn_norm"), "embd");
}

}  // namespace
}  // namespace assay::tests
