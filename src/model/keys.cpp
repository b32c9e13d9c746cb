#include "model/keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "gguf/reader.h"

namespace assay::model {

namespace {

constexpr std::string_view other_model = "belongs to other architectures";
constexpr std::string_view embeddings = "for embeddings, not for logits";
constexpr std::string_view drafts = "belongs to models that draft for another";

// Source: llama.cpp's reader, load_hparams of the common part and of each architecture.
constexpr std::array table = {
    // read
    KeyRow{"context_length", Use::read, "required"},
    KeyRow{"embedding_length", Use::read, "required"},
    KeyRow{"block_count", Use::read, "required"},
    KeyRow{"nextn_predict_layers", Use::read, "0; so many blocks at the end do not run"},
    KeyRow{"feed_forward_length", Use::read,
           "required; of a list the first element, unless blocks differ"},
    KeyRow{"attention.head_count", Use::read,
           "required; of a list the first element, unless blocks differ"},
    KeyRow{"attention.head_count_kv", Use::read,
           "head_count; of a list the first element, unless blocks differ"},
    KeyRow{"attention.layer_norm_rms_epsilon", Use::read,
           "required, unless the norms are LayerNorms"},
    KeyRow{"attention.key_length", Use::read, "embedding_length / head_count"},
    KeyRow{"attention.value_length", Use::read, "embedding_length / head_count"},
    KeyRow{"attention.causal", Use::read, "true; false is refused"},
    KeyRow{"attention.sliding_window", Use::read,
           "0: none; a query sees so many positions, its own among them"},
    KeyRow{"rope.dimension_count", Use::read, "key_length"},
    KeyRow{"rope.freq_base", Use::read, "10000"},
    KeyRow{"rope.scaling.type", Use::read, "linear; also none, yarn, longrope (as linear)"},
    KeyRow{"rope.scaling.factor", Use::read, "0: no scaling"},
    KeyRow{"rope.scale_linear", Use::read, "0; read only without rope.scaling.factor"},
    KeyRow{"rope.scaling.attn_factor", Use::read, "1; multiplies cos and sin for every type"},
    KeyRow{"rope.scaling.original_context_length", Use::read,
           "context_length; 0: the same for yarn, and always the long factors"},
    KeyRow{"vocab_size", Use::read, "rows of token_embd; read only without a tokenizer's tokens"},
    KeyRow{"expert_count", Use::read, "0; expert_used_count must not exceed it"},
    KeyRow{"expert_used_count", Use::read, "0"},
    // read where the architecture asks for it, else ignored as its reader does
    KeyRow{"attention.layer_norm_epsilon", Use::by_trait, "required where norms are LayerNorms"},
    KeyRow{"attention.scale", Use::by_trait, "0: 1/sqrt(key_length)"},
    KeyRow{"attention.output_scale", Use::by_trait, "as attention.scale"},
    KeyRow{"attention.value_scale", Use::by_trait, "0: off; multiplies attention's result"},
    KeyRow{"attention.temperature_length", Use::by_trait, "0: the architecture's"},
    KeyRow{"attention.temperature_scale", Use::by_trait, "0: off"},
    KeyRow{"attention.clamp_kqv", Use::by_trait, "0: off"},
    KeyRow{"attention.max_alibi_bias", Use::by_trait, "0: off"},
    KeyRow{"attention.key_length_swa", Use::by_trait, "key_length"},
    KeyRow{"attention.value_length_swa", Use::by_trait, "value_length"},
    KeyRow{"attention.sliding_window_pattern", Use::by_trait, "the architecture's period"},
    KeyRow{"attention.rope_pattern", Use::by_trait, "a list: 1 where RoPE turns"},
    KeyRow{"attention.shared_kv_layers", Use::by_trait, "0"},
    KeyRow{"attn_logit_softcapping", Use::by_trait, "the architecture's; 0: off"},
    KeyRow{"final_logit_softcapping", Use::by_trait, "the architecture's; 0: off"},
    KeyRow{"logit_scale", Use::by_trait, "0: off"},
    KeyRow{"residual_scale", Use::by_trait, "0: off"},
    KeyRow{"embedding_scale", Use::by_trait, "0: off"},
    KeyRow{"embedding_length_per_layer_input", Use::by_trait, "0: none"},
    KeyRow{"use_parallel_residual", Use::by_trait, "required"},
    KeyRow{"num_loops", Use::by_trait, "1"},
    KeyRow{"skip_loop_final_norm", Use::by_trait, "false"},
    KeyRow{"hidden_activation", Use::by_trait, "gelu by tanh; \"gelu\" is that by erf"},
    KeyRow{".xielu.*", Use::by_trait, "required where it is the activation"},
    KeyRow{"rope.scaling.finetuned", Use::by_trait, "true; false switches RoPE off"},
    KeyRow{"rope.scaling.alpha", Use::by_trait, "0: off; the base grows"},
    KeyRow{"rope.scaling.yarn_ext_factor", Use::by_trait, "1 with yarn, else 0"},
    KeyRow{"rope.scaling.yarn_attn_factor", Use::by_trait, "1; else it follows from the factor"},
    KeyRow{"rope.scaling.yarn_beta_fast", Use::by_trait, "32"},
    KeyRow{"rope.scaling.yarn_beta_slow", Use::by_trait, "1"},
    KeyRow{"rope.scaling.yarn_log_multiplier", Use::by_trait, "0: off"},
    KeyRow{"rope.freq_base_swa", Use::by_trait, "rope.freq_base, or 10000"},
    KeyRow{"rope.dimension_count_swa", Use::by_trait, "rope.dimension_count"},
    KeyRow{"rope.dimension_sections", Use::by_trait, "none"},
    KeyRow{"leading_dense_block_count", Use::by_trait, "0"},
    KeyRow{"interleave_moe_layer_step", Use::by_trait, "required"},
    KeyRow{"expert_feed_forward_length", Use::by_trait, "required, or feed_forward_length"},
    KeyRow{"expert_gating_func", Use::by_trait, "required, or the architecture's"},
    KeyRow{"expert_weights_norm", Use::by_trait, "false"},
    KeyRow{"expert_weights_scale", Use::by_trait, "0: off"},
    KeyRow{"expert_group_used_count", Use::by_trait, "required with groups"},
    KeyRow{"expert_shared_count", Use::by_trait, "0"},
    KeyRow{"expert_shared_feed_forward_length", Use::by_trait, "0: the architecture's"},
    KeyRow{"swiglu_clamp_exp", Use::by_trait, "required"},
    KeyRow{"expert_group_count", Use::read,
           "0; with 2 or more, experts are chosen from the best groups"},
    // ignored: the reader of these architectures does not look at them
    KeyRow{"attention.group_norm_*", Use::ignored, other_model},
    KeyRow{"attention.*_lora_rank", Use::ignored, other_model},
    KeyRow{"attention.*_mla", Use::ignored, other_model},
    KeyRow{"attention.*_swa", Use::ignored, other_model},
    KeyRow{"attention.relative_buckets_count", Use::ignored, other_model},
    KeyRow{"attention.indexer.*", Use::ignored, other_model},
    KeyRow{"attention.output_group_count", Use::ignored, other_model},
    KeyRow{"attention.compress_*", Use::ignored, other_model},
    KeyRow{"attention.recurrent_layers", Use::ignored, other_model},
    KeyRow{"activation.*", Use::ignored, other_model},
    KeyRow{"router_logit_softcapping", Use::ignored, other_model},
    KeyRow{"swiglu_clamp_shexp", Use::ignored, other_model},
    KeyRow{"expert_*", Use::ignored, other_model},
    KeyRow{"experts_per_group", Use::ignored, other_model},
    KeyRow{"moe_*", Use::ignored, other_model},
    KeyRow{"xielu.*", Use::ignored, "its numbers stand without the architecture's name"},
    KeyRow{"full_attention_interval", Use::ignored, other_model},
    KeyRow{"embedding_length_out", Use::ignored, embeddings},
    KeyRow{"features_length", Use::ignored, other_model},
    KeyRow{"pooling_type", Use::ignored, embeddings},
    KeyRow{"classifier.*", Use::ignored, embeddings},
    KeyRow{"dense_*", Use::ignored, embeddings},
    KeyRow{"tensor_data_layout", Use::ignored, "a remark"},
    KeyRow{"attn_res.*", Use::ignored, other_model},
    KeyRow{"n_deepstack_layers", Use::ignored, other_model},
    KeyRow{"deepstack_mapping", Use::ignored, other_model},
    KeyRow{"decoder_start_token_id", Use::ignored, other_model},
    KeyRow{"decoder_block_count", Use::ignored, other_model},
    KeyRow{"swin_norm", Use::ignored, other_model},
    KeyRow{"rescale_every_n_layers", Use::ignored, other_model},
    KeyRow{"time_mix_extra_dim", Use::ignored, other_model},
    KeyRow{"time_decay_extra_dim", Use::ignored, other_model},
    KeyRow{"token_shift_count", Use::ignored, other_model},
    KeyRow{"hrm.*", Use::ignored, other_model},
    KeyRow{"hyper_connection.*", Use::ignored, other_model},
    KeyRow{"ple.*", Use::ignored, other_model},
    KeyRow{"hash_layer_count", Use::ignored, other_model},
    KeyRow{"ssm.*", Use::ignored, other_model},
    KeyRow{"kda.*", Use::ignored, other_model},
    KeyRow{"wkv.*", Use::ignored, other_model},
    KeyRow{"posnet.*", Use::ignored, other_model},
    KeyRow{"convnext.*", Use::ignored, other_model},
    KeyRow{"shortconv.*", Use::ignored, other_model},
    KeyRow{"adapters.*", Use::ignored, other_model},
    KeyRow{"altup.*", Use::ignored, other_model},
    KeyRow{"activation_sparsity_scale", Use::ignored, other_model},
    KeyRow{"conv_*", Use::ignored, other_model},
    KeyRow{"block_size", Use::ignored, drafts},
    KeyRow{"norm_before_*", Use::ignored, drafts},
    KeyRow{"selector_*", Use::ignored, drafts},
    KeyRow{"target_*", Use::ignored, drafts},
    KeyRow{"has_confidence_head", Use::ignored, drafts},
    KeyRow{"sample_from_anchor", Use::ignored, drafts},
};

bool is_multiplier(std::string_view name) {
  return name.ends_with("scale") || name.ends_with("factor") || name.ends_with("multiplier");
}

}  // namespace

bool fits(std::string_view pattern, std::string_view name) {
  const size_t star = pattern.find('*');
  if (star == pattern.npos) return pattern == name;
  const std::string_view before = pattern.substr(0, star), after = pattern.substr(star + 1);
  return name.size() >= before.size() + after.size() && name.starts_with(before) &&
         name.ends_with(after);
}

std::span<const KeyRow> common_keys() {
  return table;
}

const KeyRow* find_key(std::string_view name, std::span<const KeyRow> own) {
  for (const std::span<const KeyRow> rows : {own, common_keys()})
    for (const KeyRow& row : rows)
      if (fits(row.name, name)) return &row;
  return nullptr;
}

bool is_neutral(std::string_view name, const gguf::Value& value) {
  const bool multiplier = is_multiplier(name);
  const auto neutral = [&](const auto& data) -> bool {
    using T = std::decay_t<decltype(data)>;
    if constexpr (std::is_arithmetic_v<T>) {
      return data == T(0) || (multiplier && !std::is_same_v<T, bool> && data == T(1));
    } else if constexpr (std::is_same_v<T, std::string_view>) {
      return data.empty() || data == "none";
    } else {
      if (data.type == gguf::ValueType::string)
        return std::ranges::all_of(data.strings,
                                   [](auto text) { return text.empty() || text == "none"; });
      if (name.ends_with("mapping") && data.type == gguf::ValueType::i32) {
        uint64_t unset = 0;
        for (uint64_t i = 0; i < data.count; ++i) unset += data.integer(i) < 0;
        return unset == data.count;
      }
      return std::ranges::all_of(data.bytes, [](uint8_t byte) { return byte == 0; });
    }
  };
  return std::visit(neutral, value.data);
}

Status check_keys(const gguf::File& file, std::string_view architecture,
                  std::span<const KeyRow> own) {
  const std::string prefix = std::string(architecture) + ".";
  for (const gguf::Metadata& entry : file.metadata()) {
    if (!entry.key.starts_with(prefix)) continue;
    const std::string_view name = entry.key.substr(prefix.size());
    const KeyRow* row = find_key(name, own);
    if (row && row->use != Use::neutral) continue;
    if (!is_neutral(name, entry.value))
      return Error{fmt::format("{} is set, and assay's '{}' does not implement it",
                               gguf::printable(entry.key), architecture)};
  }
  return ok();
}

}  // namespace assay::model
