// Tiny files of each architecture with one thing changed, and who runs them: what llama.cpp's
// reader makes of a key, and what ours does. tests/keys/make_logits.py gives them to llama.cpp.
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/mix64.h"
#include "model/small_architectures.h"
#include "model/small_file.h"

namespace assay::tests {

enum class Runs {
  both,    ///< and they agree
  none,    ///< a number that is missing or makes no sense
  ours,    ///< llama.cpp refuses or stops
  theirs,  ///< we refuse: what it asks for is not implemented, or beyond our bounds
};

struct KeyCase {
  std::string name;
  SmallFile file;
  Runs runs = Runs::both;
};

/// The name of the i-th case's file.
inline std::string file_of(size_t i) {
  return "case" + std::to_string(i) + ".gguf";
}

/// F32 everywhere, values from the tensor's name. Scores of attention spread, so that RoPE matters.
inline void fill(SmallFile& file) {
  for (auto& [name, tensor] : file.tensors) {
    if (!tensor.values.empty()) continue;
    tensor.type = 0;
    uint64_t count = 1, state = 0;
    for (const uint64_t dim : tensor.dims) count *= dim;
    for (const char c : name) state = state * 131 + uint8_t(c);
    const bool norm = name.find("norm") != name.npos, bias = name.ends_with(".bias");
    const bool steep = name.find("attn_q.") != name.npos || name.find("attn_k.") != name.npos ||
                       name.find("attn_qkv.") != name.npos;
    const double bound = name.starts_with("token_embd") ? 1.0
                         : norm                         ? 0.25
                         : bias                         ? 0.5
                                : (steep ? 1.75 : 1.0) * std::sqrt(3.0 / double(tensor.dims[0]));
    for (uint64_t i = 0; i < count; ++i) {
      const double unit = double(splitmix64(state) >> 11) * 0x1p-52 - 1.0;  // [-1, 1)
      tensor.values.push_back(float((norm ? 1.0 : 0.0) + bound * unit));
    }
  }
}

class KeyCases {
 public:
  KeyCases() {
    for (const char* architecture : {"llama", "qwen2", "qwen3", "phi3"}) {
      architecture_ = architecture;
      add("plain", {});
      sizes();
      attention();
      rope();
      others();
      ignored();
      tensors();
    }
    tokenizer();
    architectures();
  }
  const std::vector<KeyCase>& all() const { return cases_; }

 private:
  using Value = SmallFile::Value;
  using Changes = std::vector<std::pair<std::string, Value>>;
  using List = std::vector<int32_t>;

  bool is(const char* architecture) const { return architecture_ == architecture; }

  SmallFile base() const {
    SmallFile file(architecture_);
    file.keys["tokenizer.ggml.model"] = std::string("none");
    file.set("vocab_size", 40u);
    return file;
  }
  void add(std::string name, const SmallFile& file, Runs runs) {
    cases_.push_back({architecture_ + ": " + std::move(name), file, runs});
    fill(cases_.back().file);
  }
  void add(std::string name, const Changes& changes, Runs runs = Runs::both) {
    SmallFile file = base();
    for (const auto& [key, value] : changes) file.set(key, value);
    add(std::move(name), file, runs);
  }
  static std::string text_of(const Value& value) {
    return std::visit(
        [](const auto& x) -> std::string {
          using T = std::decay_t<decltype(x)>;
          if constexpr (std::is_same_v<T, bool>) return x ? "true" : "false";
          if constexpr (std::is_same_v<T, std::string>) return "'" + x + "'";
          if constexpr (std::is_arithmetic_v<T>) return ::testing::PrintToString(x);
          if constexpr (!std::is_same_v<T, std::string> && !std::is_arithmetic_v<T>)
            return ::testing::PrintToString(x);
          return "";
        },
        value);
  }
  void set(const std::string& key, const Value& value, Runs runs = Runs::both) {
    add(key + " = " + text_of(value), {{key, value}}, runs);
  }
  void without(const std::string& key, Runs runs) {
    SmallFile file = base();
    file.keys.erase(architecture_ + "." + key);
    add("no " + key, file, runs);
  }

  void sizes() {
    without("context_length", Runs::none);
    set("context_length", 128u);
    without("embedding_length", Runs::none);
    set("embedding_length", 32u, Runs::none);
    without("block_count", Runs::none);
    set("block_count", 1u, Runs::none);
    set("nextn_predict_layers", 0u);
    set("nextn_predict_layers", 1u, Runs::none);  // the file has the tensors of that block
    SmallFile predicts = base();
    predicts.set("nextn_predict_layers", 1u);
    std::erase_if(predicts.tensors, [](const auto& t) { return t.first.starts_with("blk.1."); });
    add("nextn_predict_layers = 1 without its tensors", predicts, Runs::both);
    without("feed_forward_length", Runs::none);
    set("feed_forward_length", 64u, Runs::none);
    set("feed_forward_length", List{96, 96});
    set("feed_forward_length", List{96, 64});
    set("feed_forward_length", List{96}, Runs::none);
    without("attention.layer_norm_rms_epsilon", Runs::none);
    set("attention.layer_norm_rms_epsilon", 1e-3f);
    set("attention.layer_norm_rms_epsilon", 2.0f);
    set("attention.layer_norm_rms_epsilon", 0.0f, Runs::theirs);  // docs/models.md: denormals
    without("vocab_size", Runs::ours);                            // the rows of token_embd count
    set("vocab_size", 41u, Runs::none);
  }

  void attention() {
    without("attention.head_count", Runs::none);
    set("attention.head_count", 0u, Runs::none);
    set("attention.head_count", List{4, 4});
    set("attention.head_count", List{4, 2});
    set("attention.head_count", List{4}, Runs::none);
    without("attention.head_count_kv", Runs::none);
    set("attention.head_count_kv", 0u, Runs::none);
    set("attention.head_count_kv", 3u, Runs::none);
    set("attention.head_count_kv", List{2, 2});
    set("attention.head_count_kv", List{2, 1}, Runs::none);
    set("attention.key_length", 16u);
    set("attention.key_length", 0u, Runs::none);
    set("attention.key_length", 8u, Runs::none);
    set("attention.value_length", 16u);
    set("attention.value_length", 0u, Runs::none);
    set("attention.causal", true);
    set("attention.causal", false, Runs::theirs);
    set("attention.sliding_window", 0u);
    set("attention.sliding_window", 256u);
    set("attention.sliding_window", 64u);  // 16 tokens do not cross it: docs/models.md, departures
    if (is("phi3")) return;
    SmallFile values = base();  // values half as long as keys
    values.set("attention.key_length", 16u);
    values.set("attention.value_length", 8u);
    for (const std::string blk : {"blk.0.", "blk.1."}) {
      values.tensors[blk + "attn_v.weight"].dims = {64, 16};
      values.tensors[blk + "attn_output.weight"].dims = {32, 64};
    }
    add("attention.value_length = 8", values, Runs::ours);
  }

  void rope() {
    const Runs partial = is("phi3") ? Runs::both : Runs::ours;
    set("rope.dimension_count", 16u);
    set("rope.dimension_count", 8u, partial);
    set("rope.dimension_count", 2u, partial);
    for (const uint32_t wrong : {0u, 7u, 18u}) set("rope.dimension_count", wrong, Runs::none);
    for (const float base : {500.0f, 1e6f, 1.0f, 0.5f, 1e20f}) set("rope.freq_base", base);
    for (const float wrong : {0.0f, -1.0f}) set("rope.freq_base", wrong, Runs::none);
    for (const char* type : {"none", "linear", "longrope", "yarn"})
      set("rope.scaling.type", std::string(type));
    for (const char* wrong : {"", "dynamic"})
      set("rope.scaling.type", std::string(wrong), Runs::none);
    for (const float factor : {0.0f, 1.0f, 4.0f, 0.5f, 1e7f}) set("rope.scaling.factor", factor);
    set("rope.scaling.factor", -2.0f, Runs::theirs);
    for (const float factor : {0.0f, 4.0f}) set("rope.scale_linear", factor);
    add("rope.scale_linear behind a rope.scaling.factor of 0",
        {{"rope.scaling.factor", 0.0f}, {"rope.scale_linear", 4.0f}});
    for (const char* type : {"none", "longrope", "yarn"})
      for (const float factor : {0.0f, 0.5f, 1.0f, 4.0f})
        add("rope.scaling.type = " + std::string(type) + ", factor " + std::to_string(factor),
            {{"rope.scaling.type", std::string(type)}, {"rope.scaling.factor", factor}});
    const Changes yarn = {{"rope.scaling.type", std::string("yarn")},
                          {"rope.scaling.factor", 4.0f}};
    const auto with_yarn = [&](const std::string& key, const Value& value) {
      Changes changes = yarn;
      changes.emplace_back(key, value);
      add("yarn, " + key + " = " + text_of(value), changes);
    };
    for (const uint32_t original : {0u, 16u, 64u, 1000u}) {
      set("rope.scaling.original_context_length", original);
      with_yarn("rope.scaling.original_context_length", original);
    }
    for (const float factor : {1.0f, 1.5f, 0.0f, -1.0f}) {
      set("rope.scaling.attn_factor", factor);
      with_yarn("rope.scaling.attn_factor", factor);
    }
    for (const float base : {1.0f, 0.5f, 1e6f}) with_yarn("rope.freq_base", base);
    for (const char* key :
         {"ext_factor", "attn_factor", "beta_fast", "beta_slow", "log_multiplier"}) {
      set("rope.scaling.yarn_" + std::string(key), 3.0f);
      with_yarn("rope.scaling.yarn_" + std::string(key), 3.0f);
    }
  }

  void others() {
    set("expert_count", 0u);
    set("expert_used_count", 0u);
    set("expert_used_count", List{0, 0});
    set("expert_used_count", 2u, Runs::none);
    set("expert_group_count", 0u);
    set("expert_group_count", 2u, Runs::none);
    set("expert_group_used_count", 1u);
    add("8 experts, 2 used", {{"expert_count", 8u}, {"expert_used_count", 2u}},
        is("llama") ? Runs::none : Runs::both);
    set("attention.new_idea", 0u);
    set("attention.new_idea", 7u, Runs::theirs);  // in no table, so it may mean anything
    set("new_multiplier", 1.0f);
    set("new_multiplier", 12.0f, Runs::theirs);
  }

  /// A value of the type that llama.cpp's reader wants, that would show.
  void ignored() {
    const Changes values = {
        {"rope.scaling.finetuned", true},
        {"rope.scaling.alpha", 4.0f},
        {"rope.freq_base_swa", 100.0f},
        {"rope.dimension_count_swa", 8u},
        {"rope.dimension_sections", List{4, 2, 2, 0}},
        {"attention.scale", 0.5f},
        {"attention.output_scale", 0.5f},
        {"attention.value_scale", 0.5f},
        {"attention.temperature_length", 4u},
        {"attention.temperature_scale", 0.5f},
        {"attention.clamp_kqv", 0.1f},
        {"attention.max_alibi_bias", 8.0f},
        {"attention.layer_norm_epsilon", 0.5f},
        {"attention.group_norm_epsilon", 0.5f},
        {"attention.group_norm_groups", 2u},
        {"attention.q_lora_rank", 8u},
        {"attention.key_length_mla", 8u},
        {"attention.key_length_swa", 8u},
        {"attention.value_length_swa", 8u},
        {"attention.relative_buckets_count", 4u},
        {"attention.sliding_window_pattern", 2u},
        {"attention.rope_pattern", List{0, 1}},
        {"attention.indexer.top_k", 2u},
        {"attention.output_group_count", 2u},
        {"attention.compress_ratios", List{2, 2}},
        {"attention.shared_kv_layers", 1u},
        {"attention.recurrent_layers", List{1, 1}},
        {"logit_scale", 3.0f},
        {"residual_scale", 0.5f},
        {"embedding_scale", 12.0f},
        {"attn_logit_softcapping", 0.5f},
        {"final_logit_softcapping", 0.5f},
        {"router_logit_softcapping", 0.5f},
        {"use_parallel_residual", true},
        {"hidden_activation", std::string("gelu")},
        {"swiglu_clamp_exp", std::vector<float>{0.1f, 0.1f}},
        {"swiglu_clamp_shexp", std::vector<float>{0.1f, 0.1f}},
        {"expert_group_scale", 0.5f},
        {"attention.head_count_swa", 3u},
        {"activation.situ_beta", 2.0f},
        {"expert_shared_count", 2u},
        {"expert_feed_forward_length", 32u},
        {"expert_weights_scale", 2.0f},
        {"expert_gating_func", 2u},
        {"experts_per_group", 2u},
        {"moe_every_n_layers", 1u},
        {"moe_latent_size", 8u},
        {"interleave_moe_layer_step", 1u},
        {"leading_dense_block_count", 1u},
        {"full_attention_interval", 2u},
        {"embedding_length_out", 32u},
        {"embedding_length_per_layer_input", 8u},
        {"features_length", 8u},
        {"pooling_type", 1u},
        {"classifier.pooling_type", 1u},
        {"classifier.output_labels", std::vector<std::string>{"yes", "no"}},
        {"dense_2_feat_in", 8u},
        {"tensor_data_layout", std::string("Meta AI original pth")},
        {"attn_res.block_size", 2u},
        {"n_deepstack_layers", 1u},
        {"deepstack_mapping", List{0, 1}},
        {"decoder_start_token_id", 3u},
        {"decoder_block_count", 1u},
        {"swin_norm", true},
        {"rescale_every_n_layers", 1u},
        {"time_mix_extra_dim", 8u},
        {"time_decay_extra_dim", 8u},
        {"token_shift_count", 2u},
        {"hrm.h_cycles", 2u},
        {"hyper_connection.count", 2u},
        {"ple.layer_count", 2u},
        {"hash_layer_count", 1u},
        {"ssm.state_size", 8u},
        {"kda.head_dim", 8u},
        {"wkv.head_size", 8u},
        {"posnet.block_count", 1u},
        {"convnext.block_count", 1u},
        {"shortconv.l_cache", 3u},
        {"xielu.beta", 0.5f},
        {"adapters.count", 2u},
        {"altup.num_inputs", 2u},
        {"activation_sparsity_scale", std::vector<float>{1, 1}},
        {"num_loops", 2u},
        {"skip_loop_final_norm", true},
        {"conv_kernel_size", 3u},
        {"block_size", 4u},
        {"norm_before_residual", true},
        {"selector_top_k", 2u},
        {"target_hidden_size", 8u},
        {"has_confidence_head", true},
        {"sample_from_anchor", true},
    };
    for (const auto& [key, value] : values) set(key, value);
    SmallFile bare = base();
    bare.keys["xielu.beta"] = 0.5f;  // as Apertus' files have it
    add("xielu.beta without a name before it", bare, Runs::both);
  }

  void tensors() {
    SmallFile untied = base();
    untied.tensors["output.weight"] = {0, {64, 40}};
    add("a head of its own", untied, Runs::both);
    SmallFile scaled = base(), biased = base(), factors = base();
    const std::string q = is("phi3") ? "blk.0.attn_qkv" : "blk.0.attn_q";
    scaled.tensors[q + ".scale"] = {0, {}, {0.5f}};  // no dimension: one element
    scaled.tensors["blk.1.ffn_down.scale"] = {0, {1}, {1.5f}};
    add("scales of one matrix each", scaled, Runs::both);
    biased.tensors[q + ".bias"] = {0, {is("phi3") ? 128u : 64u}};
    add("a bias of q", biased, Runs::both);
    factors.tensors["rope_freqs.weight"] = {0, {8}, {1, 1, 1, 2, 2, 4, 4, 8}};
    add("rope_freqs", factors, is("llama") ? Runs::both : is("phi3") ? Runs::none : Runs::ours);
    for (const uint32_t original : {64u, 256u, 0u}) {
      SmallFile both = base();
      both.set("rope.scaling.type", std::string("longrope"));
      both.set("rope.scaling.original_context_length", original);
      both.tensors["rope_factors_short.weight"] = {0, {8}, {1, 1, 1, 1, 1, 1, 2, 2}};
      both.tensors["rope_factors_long.weight"] = {0, {8}, {1, 2, 2, 4, 4, 8, 8, 8}};
      add("long and short factors, original " + std::to_string(original), both,
          is("llama") || is("phi3") ? Runs::both : Runs::ours);
    }
    SmallFile down = base();
    down.tensors["blk.0.ffn_down.bias"] = {0, {64}};
    add("a bias of ffn_down", down, is("llama") ? Runs::both : Runs::none);
  }

  void tokenizer() {
    architecture_ = "llama";
    const auto with_tokens = [&](const std::string& name, const std::string& key, Value value,
                                 Runs runs = Runs::both) {
      SmallFile file("llama");
      file.keys["tokenizer.ggml.model"] = std::string("gpt2");
      file.keys["tokenizer.ggml.pre"] = std::string("gpt-2");
      file.keys["tokenizer.ggml.merges"] = std::vector<std::string>{"a b"};
      for (int i = 0; i < 40; ++i) file.tokens.push_back(std::string(1, char('A' + i)));
      file.keys[key] = std::move(value);
      add(name, file, runs);
    };
    with_tokens("tokens", "general.name", std::string("tiny"));
    with_tokens("vocab_size beside tokens", "llama.vocab_size", 1000u);
    for (const char* token : {"padding", "seperator", "mask", "unknown", "bos", "eos", "eot", "eom",
                              "fim_pre", "fim_pad", "cls", "image"})
      with_tokens(std::string(token) + "_token_id outside the vocabulary",
                  "tokenizer.ggml." + std::string(token) + "_token_id", 4294967295u);
  }

  /// A file of another architecture, with changes.
  void of(const std::string& name, SmallFile file, const Changes& changes = {}) {
    architecture_ = file.architecture;
    file.keys["tokenizer.ggml.model"] = std::string("none");
    file.set("vocab_size", 40u);
    for (const auto& [key, value] : changes) file.set(key, value);
    add(name, file, Runs::both);
  }

  /// Windows that 16 tokens cross, routers that leave experts out, tables of two kinds of layers.
  void architectures() {
    const Changes stretched = {{"rope.freq_base", 500.0f}, {"rope.scaling.factor", 4.0f}};
    of("two of four experts, width of the feed-forward part", with_experts("llama", 96));
    of("three of four experts", with_experts("qwen3moe", 32), {{"expert_used_count", 3u}});
    of("a shared expert with a gate", with_experts("qwen2moe", 32));
    of("a bias that only chooses", with_experts("minimax-m2", 96), {{"expert_gating_func", 2u}});
    of("experts by sigmoid", glm4moe());
    of("experts in groups, renormalised and scaled", glm4moe(),
       {{"expert_group_count", 4u},
        {"expert_group_used_count", 2u},
        {"expert_weights_norm", true},
        {"expert_weights_scale", 2.5f}});
    of("experts by softmax with a bias", glm4moe(), {{"expert_gating_func", 1u}});
    of("sinks, windows, the softmax of two of four", gpt_oss(), stretched);
    of("caps and a window", gemma("gemma2"),
       {{"attention.sliding_window", 5u},
        {"attn_logit_softcapping", 5.0f},
        {"final_logit_softcapping", 3.0f}});
    Changes two = stretched;
    two.emplace_back("attention.sliding_window", 5u);
    two.emplace_back("attention.sliding_window_pattern", 2u);
    of("no windows", gemma("gemma3"), stretched);
    of("windows with a base of their own", gemma("gemma3"), two);
    of("windows without scaling", olmo2(), two);
    of("parallel, RoPE in windows alone", cohere2(), {{"attention.sliding_window_pattern", 2u}});
    of("temperature and YaRN's log multiplier", SmallFile("mistral3"),
       {{"attention.temperature_scale", 0.4f},
        {"rope.scaling.original_context_length", 6u},
        {"rope.scaling.type", std::string("yarn")},
        {"rope.scaling.factor", 8.0f},
        {"rope.scaling.yarn_beta_fast", 16.0f},
        {"rope.scaling.yarn_log_multiplier", 0.7f}});
    of("multipliers", SmallFile("granite"),
       {{"logit_scale", 8.0f},
        {"embedding_scale", 3.0f},
        {"residual_scale", 0.25f},
        {"attention.scale", 0.5f}});
    of("RoPE off", SmallFile("granite"),
       {{"logit_scale", 1.0f}, {"rope.scaling.finetuned", false}});
  }

  std::string architecture_;
  std::vector<KeyCase> cases_;
};

}  // namespace assay::tests
