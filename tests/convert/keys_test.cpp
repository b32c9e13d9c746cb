// config.json as keys: the common rows, each architecture's own, and every kind of RoPE scaling.
#include "convert/keys.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace assay::convert {
namespace {

using model::Architecture;
using model::Config;
using nlohmann::json;
using ::testing::HasSubstr;

json small(const std::string& type) {
  return {{"model_type", type},
          {"hidden_size", 64},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"intermediate_size", 96},
          {"num_key_value_heads", 2},
          {"max_position_embeddings", 4096},
          {"rms_norm_eps", 1e-6},
          {"vocab_size", 40}};
}

Result<Settings> settings_of(const json& fields) {
  auto config = Config::parse(fields.dump(), "config.json");
  if (!config) return config.error();
  const auto architecture = model::architecture_of(*config);
  if (!architecture) return architecture.error();
  return read_settings(*config, **architecture);
}

std::string refusal(const json& fields) {
  const auto settings = settings_of(fields);
  return settings ? "accepted" : settings.error().message;
}

template <class T>
T value(const Settings& settings, std::string_view key) {
  const model::KeyValue* found = settings.keys.find(key);
  if (!found || !std::holds_alternative<T>(*found)) {
    ADD_FAILURE() << key << (found ? " has another type" : " is missing");
    return {};
  }
  return std::get<T>(*found);
}

json with_rope(json fields, json rope) {
  rope["rope_theta"] = 10000.0;
  fields["rope_parameters"] = std::move(rope);
  return fields;
}

TEST(Settings, EveryRowSetsAKeyThatTheReaderReads) {
  for (const model::ConfigRow& row : model::common_config()) {
    if (row.key.empty()) continue;
    const model::KeyRow* key = model::find_key(row.key, {});
    ASSERT_TRUE(key) << row.key;
    EXPECT_EQ(key->use, model::Use::read) << row.key;
  }
}

TEST(Settings, OldAndNewPlacesOfTheBase) {
  json fields = small("llama");
  auto none = settings_of(fields);
  ASSERT_TRUE(none) << none.error().message;
  EXPECT_EQ(value<float>(*none, "rope.freq_base"), 10000.0f);  // the class's own
  EXPECT_EQ(value<float>(*settings_of(small("smollm3")), "rope.freq_base"), 2000000.0f);
  fields["rope_theta"] = 50000;  // whole numbers are reals, too
  EXPECT_EQ(value<float>(*settings_of(fields), "rope.freq_base"), 50000.0f);
  fields["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 70000.0}};
  EXPECT_EQ(value<float>(*settings_of(fields), "rope.freq_base"), 70000.0f);
  EXPECT_TRUE(settings_of(fields)->constants.empty());
}

TEST(Settings, APartOfTheHead) {
  json fields = small("phi3");
  fields["partial_rotary_factor"] = 0.75;
  EXPECT_EQ(value<uint32_t>(*settings_of(fields), "rope.dimension_count"), 12u);
  fields["partial_rotary_factor"] = 1.5;
  EXPECT_THAT(refusal(fields), HasSubstr("partial_rotary_factor of 1.5"));
  fields["partial_rotary_factor"] = 0.7;  // 11 of 16
  EXPECT_THAT(refusal(fields), HasSubstr("turns 11 values of each head, an odd number"));
  // Classes have a part of their own, or none.
  EXPECT_EQ(value<uint32_t>(*settings_of(small("glm4")), "rope.dimension_count"), 8u);
  fields = small("llama");
  fields["partial_rotary_factor"] = 0.5;
  EXPECT_EQ(value<uint32_t>(*settings_of(fields), "rope.dimension_count"), 16u);
}

TEST(Settings, Linear) {
  json fields = small("llama");
  fields["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
  const auto settings = settings_of(fields);
  ASSERT_TRUE(settings);
  EXPECT_EQ(value<std::string>(*settings, "rope.scaling.type"), "linear");
  EXPECT_EQ(value<float>(*settings, "rope.scaling.factor"), 4.0f);
  fields["rope_scaling"].erase("factor");
  EXPECT_THAT(refusal(fields), HasSubstr("factor' is missing"));
}

TEST(Settings, Yarn) {
  json rope = {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 1024}};
  auto settings = settings_of(with_rope(small("qwen2"), rope));
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(value<std::string>(*settings, "rope.scaling.type"), "yarn");
  EXPECT_EQ(value<float>(*settings, "rope.scaling.factor"), 4.0f);
  EXPECT_EQ(value<uint32_t>(*settings, "rope.scaling.original_context_length"), 1024u);
  EXPECT_FALSE(settings->keys.find("rope.scaling.attn_factor"));  // the usual magnitude

  // The reader multiplies by 1 + 0.1·ln 4.
  rope["attention_factor"] = 1.5;
  settings = settings_of(with_rope(small("qwen2"), rope));
  EXPECT_FLOAT_EQ(value<float>(*settings, "rope.scaling.attn_factor"),
                  float(1.5 / (1 + 0.1 * std::log(4.0))));
  rope.erase("attention_factor");
  rope["mscale"] = 0.5, rope["mscale_all_dim"] = 2.0;
  settings = settings_of(with_rope(small("qwen2"), rope));
  EXPECT_FLOAT_EQ(
      value<float>(*settings, "rope.scaling.attn_factor"),
      float((1 + 0.05 * std::log(4.0)) / (1 + 0.2 * std::log(4.0)) / (1 + 0.1 * std::log(4.0))));
}

TEST(Settings, TheRampOfYarn) {
  json rope = {{"rope_type", "yarn"}, {"factor", 4.0}, {"beta_fast", 32}, {"beta_slow", 1}};
  EXPECT_EQ(refusal(with_rope(small("qwen2"), rope)), "accepted");
  rope["beta_fast"] = 16;
  const auto qwen = settings_of(with_rope(small("qwen2"), rope));
  ASSERT_TRUE(qwen) << qwen.error().message;
  EXPECT_EQ(value<float>(*qwen, "rope.scaling.yarn_beta_fast"), 16.0f);
  EXPECT_FALSE(qwen->keys.find("rope.scaling.yarn_beta_slow"));
  rope["llama_4_scaling_beta"] = 0.1, rope["original_max_position_embeddings"] = 1024;
  const auto settings = settings_of(with_rope(small("ministral3"), rope));
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(value<float>(*settings, "rope.scaling.yarn_beta_fast"), 16.0f);
  EXPECT_EQ(value<float>(*settings, "attention.temperature_scale"), 0.1f);
}

TEST(Settings, WholeBoundsOfYarnBelongToTheArchitectureAndOthersAreFactors) {
  json rope = {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 64}};
  const auto has_factors = [&](const char* type) {
    const auto settings = settings_of(with_rope(small(type), rope));
    EXPECT_TRUE(settings) << settings.error().message;
    const bool yarn = value<std::string>(*settings, "rope.scaling.type") == "yarn";
    EXPECT_NE(yarn, settings->constants.size() == 1);
    return !yarn;
  };
  EXPECT_FALSE(has_factors("olmo2"));
  EXPECT_TRUE(has_factors("gpt_oss"));
  rope["truncate"] = false;
  EXPECT_FALSE(has_factors("gpt_oss"));
  EXPECT_TRUE(has_factors("olmo2"));
  // Of 8 pairs, that with 32 turns in 64 positions is before the first; that with one turn is
  // 8·ln(64/2π)/ln(10000) = 2.0160. Pair 1 keeps 1 − 1/2.0160 of its own and has the rest at a
  // quarter; from pair 3 on all is at a quarter.
  const auto settings = settings_of(with_rope(small("olmo2"), rope));
  const auto& factors = settings->constants[0].values;
  ASSERT_EQ(factors.size(), 8u);
  EXPECT_EQ(factors[0], 1.0f);
  const double far = 8 * std::log(64 / (2 * 3.14159265358979323846)) / std::log(10000.0);
  EXPECT_NEAR(far, 2.0160, 1e-4);
  EXPECT_FLOAT_EQ(factors[1], float(1 / (1 - 0.75 / far)));
  EXPECT_EQ(factors[3], 4.0f);
  EXPECT_FLOAT_EQ(value<float>(*settings, "rope.scaling.attn_factor"),
                  float(1 + 0.1 * std::log(4.0)));
}

TEST(Settings, AFactorOfLayersWithoutAWindowIsRefusedWhereItWouldBeOfAll) {
  json fields = with_rope(small("gemma3_text"), {{"rope_type", "yarn"}, {"factor", 4.0}});
  fields["query_pre_attn_scalar"] = 16;
  EXPECT_EQ(refusal(fields), "accepted");
  fields["rope_parameters"]["attention_factor"] = 1.5;
  EXPECT_THAT(refusal(fields), HasSubstr("'attention_factor' is for layers without a window"));
}

std::vector<bool> windowed(json fields) {
  const auto settings = settings_of(fields);
  EXPECT_TRUE(settings) << settings.error().message;
  if (!settings) return {};
  EXPECT_EQ(value<uint32_t>(*settings, "attention.sliding_window"), 48u);
  return value<std::vector<bool>>(*settings, "attention.sliding_window_pattern");
}

json with_window(const std::string& type) {
  json fields = small(type);
  fields["num_hidden_layers"] = 5;
  fields["sliding_window"] = 48;
  fields["use_sliding_window"] = true;
  fields["max_window_layers"] = 3;
  fields["query_pre_attn_scalar"] = 16;
  fields["moe_intermediate_size"] = 32;
  fields["shared_expert_intermediate_size"] = 32;
  fields["layer_norm_eps"] = 1e-5;
  fields["logit_scale"] = 1.0;
  return fields;
}

TEST(Windows, EachClassHasItsOwnLayers) {
  using Layers = std::vector<bool>;
  EXPECT_EQ(windowed(with_window("qwen2")), Layers({0, 0, 0, 1, 1}));
  EXPECT_EQ(windowed(with_window("qwen2_moe")), Layers({1, 0, 1, 0, 0}));
  json gemma = with_window("gemma2");
  gemma.erase("use_sliding_window");
  EXPECT_EQ(windowed(gemma), Layers({1, 0, 1, 0, 1}));
  json olmo = with_window("olmo3");
  olmo.erase("use_sliding_window");
  EXPECT_EQ(windowed(olmo), Layers({1, 1, 1, 0, 1}));
  json smol = with_window("smollm3");
  smol["no_rope_layers"] = {1, 0, 1, 1, 0};
  EXPECT_EQ(windowed(smol), Layers({0, 1, 0, 0, 1}));
  // In Mistral's and Starcoder's classes all layers have it, whatever layer_types says.
  for (const char* type : {"mistral", "starcoder2"}) {
    json all = with_window(type);
    all.erase("use_sliding_window");
    all["norm_epsilon"] = 1e-5;
    all["layer_types"] = json::array({"full_attention"});
    const auto settings = settings_of(all);
    ASSERT_TRUE(settings) << settings.error().message;
    EXPECT_EQ(value<uint32_t>(*settings, "attention.sliding_window"), 48u);
    EXPECT_FALSE(settings->keys.find("attention.sliding_window_pattern"));
  }
}

TEST(Windows, LayerTypesCountMoreThanAPeriod) {
  for (const char* type : {"qwen2", "qwen3", "qwen2_moe", "gemma2", "gemma3_text", "olmo3",
                           "exaone4", "cohere2", "smollm3", "gpt_oss"}) {
    SCOPED_TRACE(type);
    json fields = with_window(type);
    if (!std::string_view(type).starts_with("qwen") && std::string_view(type) != "smollm3")
      fields.erase("use_sliding_window");
    fields["layer_types"] = {"full_attention", "sliding_attention", "sliding_attention",
                             "full_attention", "full_attention"};
    EXPECT_EQ(windowed(fields), std::vector<bool>({0, 1, 1, 0, 0}));
    fields["layer_types"][4] = "chunked_attention";
    EXPECT_THAT(refusal(fields), HasSubstr("'layer_types' has 'chunked_attention'"));
    fields["layer_types"] = json::array({"full_attention"});
    EXPECT_THAT(refusal(fields), HasSubstr("'layer_types' has 1 names for 5 blocks"));
  }
}

TEST(Windows, NoneWhereTheClassSwitchesThemOff) {
  for (const char* type : {"qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "smollm3"}) {
    json fields = with_window(type);
    fields["use_sliding_window"] = false;
    const auto settings = settings_of(fields);
    ASSERT_TRUE(settings) << settings.error().message;
    EXPECT_FALSE(settings->keys.find("attention.sliding_window")) << type;
  }
  // These readers have a default, which a folder without a window must hide.
  for (const char* type : {"exaone4", "gemma2"}) {
    json fields = with_window(type);
    fields.erase("use_sliding_window");
    fields["sliding_window"] = nullptr;
    const auto settings = settings_of(fields);
    ASSERT_TRUE(settings) << settings.error().message;
    EXPECT_EQ(value<uint32_t>(*settings, "attention.sliding_window"), 0u) << type;
  }
}

TEST(Windows, RopeOfCohereAndExaoneTurnsInThem) {
  for (const char* type : {"exaone4", "cohere2"}) {
    json fields = with_window(type);
    fields.erase("use_sliding_window");
    fields["sliding_window_pattern"] = "LLLG";
    fields["layer_types"] = std::vector<std::string>(5, "full_attention");
    if (std::string_view(type) == "cohere2") fields["sliding_window_pattern"] = 4;
    const auto settings = settings_of(fields);
    ASSERT_TRUE(settings) << settings.error().message;
    EXPECT_EQ(value<std::vector<bool>>(*settings, "attention.rope_pattern"),
              std::vector<bool>(5, false));
  }
}

TEST(Windows, AScalingOfTheirOwnIsRefused) {
  json fields = with_window("olmo3");
  fields.erase("use_sliding_window");
  const json plain = {{"rope_type", "default"}, {"rope_theta", 10000.0}};
  json linear = {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 20000.0}};
  fields["rope_parameters"] = {{"full_attention", linear}, {"sliding_attention", plain}};
  const auto settings = settings_of(fields);
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(value<float>(*settings, "rope.freq_base"), 20000.0f);
  EXPECT_EQ(value<float>(*settings, "rope.freq_base_swa"), 10000.0f);
  fields["rope_parameters"] = {{"full_attention", plain}, {"sliding_attention", linear}};
  EXPECT_THAT(refusal(fields), HasSubstr("layers with a window have a RoPE scaling"));
  json smol = with_window("smollm3");
  smol["rope_parameters"] = {{"full_attention", {{"rope_theta", 20000.0}}},
                             {"sliding_attention", plain}};
  EXPECT_THAT(refusal(smol), HasSubstr("layers with a window have another rope_theta"));
}

json gemma4() {
  json fields = small("gemma4_text");
  fields["num_hidden_layers"] = 4;
  fields["head_dim"] = 16;
  fields["sliding_window"] = 48;
  fields["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention",
                           "full_attention"};
  fields["per_layer_config"] = {{"1", {{"head_dim", 32}}}, {"03", {{"head_dim", 32}}}};
  fields["hidden_size_per_layer_input"] = 8;
  fields["vocab_size_per_layer_input"] = 40;
  fields["num_kv_shared_layers"] = 2;
  fields["rope_parameters"] = {
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 10000.0}}},
      {"full_attention",
       {{"rope_type", "proportional"}, {"rope_theta", 1e6}, {"partial_rotary_factor", 0.25}}}};
  return fields;
}

TEST(Gemma4, HasLayersOfTwoKinds) {
  const auto settings = settings_of(gemma4());
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(value<uint32_t>(*settings, "attention.key_length"), 32u);
  EXPECT_EQ(value<uint32_t>(*settings, "attention.value_length_swa"), 16u);
  EXPECT_EQ(value<uint32_t>(*settings, "rope.dimension_count"), 32u);
  EXPECT_EQ(value<uint32_t>(*settings, "rope.dimension_count_swa"), 16u);
  EXPECT_EQ(value<float>(*settings, "rope.freq_base"), 1e6f);
  EXPECT_EQ(value<float>(*settings, "rope.freq_base_swa"), 10000.0f);
  EXPECT_EQ(value<uint32_t>(*settings, "attention.shared_kv_layers"), 2u);
  EXPECT_EQ(value<uint32_t>(*settings, "embedding_length_per_layer_input"), 8u);
  EXPECT_EQ(value<float>(*settings, "final_logit_softcapping"), 0.0f);
  // A quarter of the 16 pairs turn.
  ASSERT_EQ(settings->constants.size(), 1u);
  std::vector<float> want(16, 1e30f);
  std::fill_n(want.begin(), 4, 1.0f);
  EXPECT_EQ(settings->constants[0].values, want);
}

TEST(Gemma4, HasListsWhereLayersDiffer) {
  json fields = gemma4();
  fields["use_double_wide_mlp"] = true;
  fields["per_layer_config"]["1"]["num_key_value_heads"] = 1;
  auto settings = settings_of(fields);
  ASSERT_TRUE(settings) << settings.error().message;
  using List = std::vector<int32_t>;
  EXPECT_EQ(value<List>(*settings, "feed_forward_length"), List({96, 96, 192, 192}));
  EXPECT_EQ(value<List>(*settings, "attention.head_count_kv"), List({2, 1, 2, 2}));
  // Older folders have fields for layers without a window.
  fields.erase("per_layer_config");
  fields["global_head_dim"] = 64;
  fields["num_global_key_value_heads"] = 1;
  EXPECT_EQ(value<List>(*settings_of(fields), "attention.head_count_kv"), List({2, 2, 2, 2}));
  fields["attention_k_eq_v"] = true;
  settings = settings_of(fields);
  EXPECT_EQ(value<uint32_t>(*settings, "attention.key_length"), 64u);
  EXPECT_EQ(value<List>(*settings, "attention.head_count_kv"), List({2, 1, 2, 1}));
}

TEST(Gemma4, RefusesWhatAFileCannotSay) {
  json fields = gemma4();
  fields["per_layer_config"]["1"]["head_dim"] = 64;
  EXPECT_THAT(refusal(fields), HasSubstr("'head_dim' is 64 and 32 in layers of one kind"));
  fields = gemma4();
  fields["per_layer_config"]["1"]["intermediate_size"] = 64;
  EXPECT_THAT(refusal(fields), HasSubstr("'per_layer_config' sets 'intermediate_size'"));
  fields = gemma4();
  fields["per_layer_config"]["4"]["head_dim"] = 32;
  EXPECT_THAT(refusal(fields), HasSubstr("'per_layer_config' has '4', which is not one of 4"));
  fields = gemma4();
  fields["vocab_size_per_layer_input"] = 39;
  EXPECT_THAT(refusal(fields), HasSubstr("'vocab_size_per_layer_input' is 39"));
  fields = gemma4();
  fields["rope_parameters"]["sliding_attention"]["rope_type"] = "proportional";
  EXPECT_THAT(refusal(fields), HasSubstr("'proportional'"));
  // Other classes have no layers of their own.
  fields = small("llama");
  fields["per_layer_config"] = {{"0", {{"head_dim", 8}}}};
  EXPECT_THAT(refusal(fields), HasSubstr("per_layer_config"));
}

TEST(Settings, GemmaHasItsScaleAndItsCaps) {
  json fields = with_window("gemma2");
  fields.erase("use_sliding_window");
  fields["attn_logit_softcapping"] = nullptr;
  fields["final_logit_softcapping"] = 12.5;
  const auto settings = settings_of(fields);
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(value<float>(*settings, "attention.scale"), 0.25f);
  EXPECT_EQ(value<float>(*settings, "attn_logit_softcapping"), 0.0f);
  EXPECT_EQ(value<float>(*settings, "final_logit_softcapping"), 12.5f);
}

TEST(Settings, HunyuanTakesDynamicWithAnAlpha) {
  json rope = {{"rope_type", "dynamic"}, {"alpha", 1000.0}, {"factor", 1.0}};
  const auto settings = settings_of(with_rope(small("hunyuan_v1_dense"), rope));
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(value<float>(*settings, "rope.scaling.alpha"), 1000.0f);
  EXPECT_EQ(value<std::string>(*settings, "rope.scaling.type"), "none");
  rope.erase("alpha");
  EXPECT_THAT(refusal(with_rope(small("hunyuan_v1_dense"), rope)), HasSubstr("'dynamic'"));
}

TEST(Settings, ErniesExpertsEndWithTheModel) {
  json fields = small("ernie4_5_moe");
  fields["moe_intermediate_size"] = 32, fields["moe_num_shared_experts"] = 2;
  fields["moe_layer_interval"] = 1, fields["moe_layer_start_index"] = 1;
  for (const int end : {-1, 1}) {
    fields["moe_layer_end_index"] = end;
    const auto settings = settings_of(fields);
    ASSERT_TRUE(settings) << settings.error().message;
    EXPECT_EQ(value<uint32_t>(*settings, "expert_shared_feed_forward_length"), 64u);
  }
  fields["moe_layer_end_index"] = 0;
  EXPECT_THAT(refusal(fields), HasSubstr("moe_layer_end_index"));
}

TEST(Settings, Llama3GivesFactors) {
  const json rope = {{"rope_type", "llama3"},
                     {"factor", 8.0},
                     {"low_freq_factor", 1.0},
                     {"high_freq_factor", 4.0},
                     {"original_max_position_embeddings", 256}};
  json fields = with_rope(small("llama"), rope);
  const auto settings = settings_of(fields);
  ASSERT_TRUE(settings) << settings.error().message;
  ASSERT_EQ(settings->constants.size(), 1u);
  EXPECT_EQ(settings->constants[0].name, "rope_freqs.weight");
  const auto& factors = settings->constants[0].values;
  ASSERT_EQ(factors.size(), 8u);
  // Pair i of eight makes 256·10000^(-i/8)/2π waves: 40.7, 12.9, 4.07, 1.29, 0.41, …: up to 4 waves
  // shorten the step, below 1 it is an eighth.
  EXPECT_EQ(factors[0], 1.0f);
  EXPECT_EQ(factors[1], 1.0f);
  EXPECT_EQ(factors[2], 1.0f);
  const double waves = 256 * std::pow(10000.0, -3.0 / 8) / (2 * 3.14159265358979323846);
  const double keep = (waves - 1) / 3;
  EXPECT_FLOAT_EQ(factors[3], float(1 / (keep + (1 - keep) / 8)));
  EXPECT_EQ(factors[4], 8.0f);
  EXPECT_EQ(factors[7], 8.0f);
  EXPECT_FALSE(settings->keys.find("rope.scaling.type"));
  fields["rope_parameters"]["high_freq_factor"] = 1.0;
  EXPECT_THAT(refusal(fields), HasSubstr("high_freq_factor"));
}

TEST(Settings, LongropeGivesBothFactors) {
  json fields = small("phi3");
  fields["original_max_position_embeddings"] = 1024;
  fields["rope_scaling"] = {{"type", "su"},
                            {"long_factor", {2, 2, 3, 3, 4, 4, 5, 5}},
                            {"short_factor", {1, 1, 1, 1, 1, 1, 1, 1.5}}};
  auto settings = settings_of(fields);
  ASSERT_TRUE(settings) << settings.error().message;
  ASSERT_EQ(settings->constants.size(), 2u);
  EXPECT_EQ(settings->constants[0].name, "rope_factors_long.weight");
  EXPECT_EQ(settings->constants[0].values[7], 5.0f);
  EXPECT_EQ(settings->constants[1].values[7], 1.5f);
  EXPECT_EQ(value<uint32_t>(*settings, "rope.scaling.original_context_length"), 1024u);
  // √(1 + ln 4 / ln 1024) = √1.2
  EXPECT_FLOAT_EQ(value<float>(*settings, "rope.scaling.attn_factor"), std::sqrt(1.2f));
  fields["rope_scaling"]["attention_factor"] = 1.25;
  EXPECT_EQ(value<float>(*settings_of(fields), "rope.scaling.attn_factor"), 1.25f);
  fields["rope_scaling"]["short_factor"] = {1, 1};
  EXPECT_THAT(refusal(fields), HasSubstr("'short_factor' has 2 numbers; RoPE turns 8 pairs"));
}

TEST(Settings, OtherKindsOfRopeAreNamed) {
  EXPECT_THAT(refusal(with_rope(small("llama"), {{"rope_type", "dynamic"}, {"factor", 2.0}})),
              HasSubstr("rope_type 'dynamic' is not supported for 'llama'; supported: default, "
                        "linear, llama3, longrope, proportional, yarn"));
}

TEST(Settings, Phi3HasBothLengths) {
  const auto settings = settings_of(small("phi3"));
  ASSERT_TRUE(settings);
  EXPECT_EQ(value<uint32_t>(*settings, "attention.sliding_window"), 0u);
  EXPECT_EQ(value<uint32_t>(*settings, "rope.scaling.original_context_length"), 4096u);
}

TEST(Settings, AnOwnRowHidesTheCommonOne) {
  constexpr model::ConfigRow rows[] = {{"feed_forward_length", "ffn_width"},
                                       {"", "hidden_act", model::FieldType::text, true, "gelu"},
                                       {"attention.head_count_kv", ""}};
  Architecture architecture{.name = "test"};
  architecture.conversion.config = rows;
  json fields = small("llama");
  fields["ffn_width"] = 7;
  const auto read = [&] {
    auto config = Config::parse(fields.dump(), "config.json");
    return read_settings(*config, architecture);
  };
  EXPECT_THAT(read().error().message, HasSubstr("'hidden_act' is missing"));
  fields["hidden_act"] = "silu";
  EXPECT_THAT(read().error().message, HasSubstr("'hidden_act' is silu; assay's 'test' has gelu"));
  fields["hidden_act"] = "gelu";
  const auto settings = read();
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(value<uint32_t>(*settings, "feed_forward_length"), 7u);
  EXPECT_FALSE(settings->keys.find("attention.head_count_kv"));
}

}  // namespace
}  // namespace assay::convert
