#include "model/conversion.h"

#include <fmt/format.h>

#include <array>

#include "gguf/reader.h"

namespace assay::model {

namespace {

constexpr std::array tensors = {
    TensorRow{"token_embd", "model.embed_tokens"},
    TensorRow{"output_norm", "model.norm"},
    TensorRow{"output", "lm_head"},
    TensorRow{"blk.{}.attn_norm", "model.layers.{}.input_layernorm"},
    TensorRow{"blk.{}.attn_q", "model.layers.{}.self_attn.q_proj"},
    TensorRow{"blk.{}.attn_k", "model.layers.{}.self_attn.k_proj"},
    TensorRow{"blk.{}.attn_v", "model.layers.{}.self_attn.v_proj"},
    TensorRow{"blk.{}.attn_qkv", "model.layers.{}.self_attn.qkv_proj"},
    TensorRow{"blk.{}.attn_output", "model.layers.{}.self_attn.o_proj"},
    TensorRow{"blk.{}.attn_q_norm", "model.layers.{}.self_attn.q_norm"},
    TensorRow{"blk.{}.attn_k_norm", "model.layers.{}.self_attn.k_norm"},
    TensorRow{"blk.{}.attn_sinks.weight", "model.layers.{}.self_attn.sinks"},
    TensorRow{"blk.{}.ffn_norm", "model.layers.{}.post_attention_layernorm"},
    TensorRow{"blk.{}.ffn_gate", "model.layers.{}.mlp.gate_proj"},
    TensorRow{"blk.{}.ffn_up", "model.layers.{}.mlp.up_proj"},
    TensorRow{"blk.{}.ffn_down", "model.layers.{}.mlp.down_proj"},
    TensorRow{"blk.{}.ffn_up", "model.layers.{}.mlp.gate_up_proj"},
    // experts, one by one or stacked
    TensorRow{"blk.{}.ffn_gate_inp", "model.layers.{}.mlp.gate"},
    TensorRow{"blk.{}.exp_probs_b.bias", "model.layers.{}.mlp.gate.e_score_correction_bias"},
    TensorRow{"blk.{}.ffn_gate_exps", "model.layers.{}.mlp.experts.{}.gate_proj"},
    TensorRow{"blk.{}.ffn_up_exps", "model.layers.{}.mlp.experts.{}.up_proj"},
    TensorRow{"blk.{}.ffn_down_exps", "model.layers.{}.mlp.experts.{}.down_proj"},
    TensorRow{"blk.{}.ffn_gate_exps.weight", "model.layers.{}.mlp.experts.gate_up_proj",
              first_half},
    TensorRow{"blk.{}.ffn_up_exps.weight", "model.layers.{}.mlp.experts.gate_up_proj", second_half},
    TensorRow{"blk.{}.ffn_down_exps.weight", "model.layers.{}.mlp.experts.down_proj"},
    TensorRow{"blk.{}.ffn_gate_shexp", "model.layers.{}.mlp.shared_experts.gate_proj"},
    TensorRow{"blk.{}.ffn_up_shexp", "model.layers.{}.mlp.shared_experts.up_proj"},
    TensorRow{"blk.{}.ffn_down_shexp", "model.layers.{}.mlp.shared_experts.down_proj"},
    TensorRow{"blk.{}.ffn_gate_shexp", "model.layers.{}.mlp.shared_expert.gate_proj"},
    TensorRow{"blk.{}.ffn_up_shexp", "model.layers.{}.mlp.shared_expert.up_proj"},
    TensorRow{"blk.{}.ffn_down_shexp", "model.layers.{}.mlp.shared_expert.down_proj"},
    TensorRow{"blk.{}.ffn_gate_inp_shexp", "model.layers.{}.mlp.shared_expert_gate"},
    // computed by transformers from the configuration
    TensorRow{"", "model.layers.{}.self_attn.rotary_emb.inv_freq"},
    TensorRow{"", "model.rotary_emb.inv_freq"},
};

// RoPE's scaling is read by convert/rope.cpp, the tied head by convert/convert.cpp.
constexpr std::array config = {
    ConfigRow{"context_length", "max_position_embeddings|n_positions", FieldType::integer, true},
    ConfigRow{"embedding_length", "hidden_size|n_embd", FieldType::integer, true},
    ConfigRow{"block_count", "num_hidden_layers|n_layer", FieldType::integer, true},
    ConfigRow{"feed_forward_length", "intermediate_size|n_inner", FieldType::integer, true},
    ConfigRow{"attention.head_count", "num_attention_heads|n_head", FieldType::integer, true},
    ConfigRow{"attention.head_count_kv", "num_key_value_heads"},
    ConfigRow{"attention.layer_norm_rms_epsilon", "rms_norm_eps", FieldType::real, true},
    ConfigRow{"attention.key_length", "head_dim"},
    ConfigRow{"attention.value_length", "head_dim"},
    ConfigRow{"vocab_size", "vocab_size"},
    ConfigRow{"expert_count", "num_local_experts|num_experts|n_routed_experts|moe_num_experts"},
    ConfigRow{"expert_used_count", "num_experts_per_tok|top_k_experts|moe_k"},
    ConfigRow{"", "hidden_act", FieldType::text, false, "silu|swish"},
    ConfigRow{"", "use_sliding_window", FieldType::flag, false, "false"},
    ConfigRow{"", "per_layer_config", FieldType::text, false, "{}"},
    ConfigRow{"", "is_encoder_decoder", FieldType::flag, false, "false"},
    ConfigRow{"", "quantization_config.quant_method", FieldType::text, false, "none|mxfp4"},
};

}  // namespace

void set_window(Config& config, Keys& keys, uint32_t period) {
  const auto positions = config.integer("sliding_window");
  if (period == 0 && positions) keys.set("attention.sliding_window", *positions);
  if (period != 0)
    set_window(config, keys, [period](uint32_t block) { return (block + 1) % period != 0; });
}

void set_window(Config& config, Keys& keys, const std::function<bool(uint32_t)>& has) {
  const auto positions = config.integer("sliding_window");
  if (!positions) return;
  std::vector<bool> windowed = config.layers_of_type("sliding_attention");
  const std::vector<bool> whole = config.layers_of_type("full_attention");
  const uint32_t blocks = config.need_integer("num_hidden_layers");
  for (uint32_t i = 0; !config.failed() && !config.has("layer_types") && i < blocks; ++i)
    windowed.push_back(has(i));
  for (size_t i = 0; i < whole.size(); ++i)
    if (windowed[i] == whole[i])
      config.fail(
          fmt::format("'layer_types' has '{}'; assay has sliding_attention and full_attention",
                      gguf::printable(config.texts("layer_types")[i])));
  if (windowed.size() != blocks)
    config.fail(fmt::format("'layer_types' has {} names for {} blocks", windowed.size(), blocks));
  keys.set("attention.sliding_window", *positions);
  keys.set("attention.sliding_window_pattern", windowed);
}

void set_upper_window(Config& config, Keys& keys) {
  if (!config.flag("use_sliding_window").value_or(false)) return;
  const uint32_t first = config.has("layer_types") ? 0 : config.need_integer("max_window_layers");
  set_window(config, keys, [first](uint32_t block) { return block >= first; });
}

std::span<const TensorRow> common_tensors() {
  return tensors;
}

std::span<const ConfigRow> common_config() {
  return config;
}

}  // namespace assay::model
