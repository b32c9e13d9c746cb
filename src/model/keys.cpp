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
    KeyRow{"feed_forward_length", Use::read, "required; of a list the first element"},
    KeyRow{"attention.head_count", Use::read, "required; of a list the first element"},
    KeyRow{"attention.head_count_kv", Use::read, "head_count; of a list the first element"},
    KeyRow{"attention.layer_norm_rms_epsilon", Use::read, "required"},
    KeyRow{"attention.key_length", Use::read, "embedding_length / head_count"},
    KeyRow{"attention.value_length", Use::read, "embedding_length / head_count"},
    KeyRow{"attention.causal", Use::read, "true; false is refused"},
    KeyRow{"attention.sliding_window", Use::read,
           "0: none; the context limit must not exceed it, as windows are not implemented"},
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
    // not implemented
    KeyRow{"expert_group_count", Use::neutral, "0"},
    // ignored: the reader of these architectures does not look at them
    KeyRow{"rope.scaling.finetuned", Use::ignored, "a remark"},
    KeyRow{"rope.scaling.alpha", Use::ignored, other_model},
    KeyRow{"rope.scaling.yarn_ext_factor", Use::ignored, "1 with yarn, else 0"},
    KeyRow{"rope.scaling.yarn_attn_factor", Use::ignored, "follows from the factor"},
    KeyRow{"rope.scaling.yarn_beta_fast", Use::ignored, "32"},
    KeyRow{"rope.scaling.yarn_beta_slow", Use::ignored, "1"},
    KeyRow{"rope.scaling.yarn_log_multiplier", Use::ignored, other_model},
    KeyRow{"rope.freq_base_swa", Use::ignored, "no layer is marked as windowed"},
    KeyRow{"rope.dimension_count_swa", Use::ignored, "no layer is marked as windowed"},
    KeyRow{"rope.dimension_sections", Use::ignored, other_model},
    KeyRow{"attention.scale", Use::ignored, "the scale is 1/sqrt(key_length)"},
    KeyRow{"attention.output_scale", Use::ignored, other_model},
    KeyRow{"attention.value_scale", Use::ignored, other_model},
    KeyRow{"attention.temperature_length", Use::ignored, other_model},
    KeyRow{"attention.temperature_scale", Use::ignored, other_model},
    KeyRow{"attention.clamp_kqv", Use::ignored, other_model},
    KeyRow{"attention.max_alibi_bias", Use::ignored, other_model},
    KeyRow{"attention.layer_norm_epsilon", Use::ignored, "the norms are RMS norms"},
    KeyRow{"attention.group_norm_*", Use::ignored, other_model},
    KeyRow{"attention.*_lora_rank", Use::ignored, other_model},
    KeyRow{"attention.*_mla", Use::ignored, other_model},
    KeyRow{"attention.*_swa", Use::ignored, "no layer is marked as windowed"},
    KeyRow{"attention.relative_buckets_count", Use::ignored, other_model},
    KeyRow{"attention.sliding_window_pattern", Use::ignored, "every layer has the window"},
    KeyRow{"attention.rope_pattern", Use::ignored, other_model},
    KeyRow{"attention.indexer.*", Use::ignored, other_model},
    KeyRow{"attention.output_group_count", Use::ignored, other_model},
    KeyRow{"attention.compress_*", Use::ignored, other_model},
    KeyRow{"attention.shared_kv_layers", Use::ignored, other_model},
    KeyRow{"attention.recurrent_layers", Use::ignored, other_model},
    KeyRow{"logit_scale", Use::ignored, other_model},
    KeyRow{"residual_scale", Use::ignored, other_model},
    KeyRow{"embedding_scale", Use::ignored, other_model},
    KeyRow{"*_logit_softcapping", Use::ignored, other_model},
    KeyRow{"use_parallel_residual", Use::ignored, other_model},
    KeyRow{"hidden_activation", Use::ignored, "SiLU"},
    KeyRow{"swiglu_clamp_*", Use::ignored, other_model},
    KeyRow{"activation.*", Use::ignored, other_model},
    KeyRow{"expert_*", Use::ignored, "says more of experts, of which there are none"},
    KeyRow{"experts_per_group", Use::ignored, "says more of experts, of which there are none"},
    KeyRow{"moe_*", Use::ignored, "says more of experts, of which there are none"},
    KeyRow{"interleave_moe_layer_step", Use::ignored, "no layer has experts"},
    KeyRow{"leading_dense_block_count", Use::ignored, "no layer has experts"},
    KeyRow{"full_attention_interval", Use::ignored, other_model},
    KeyRow{"embedding_length_out", Use::ignored, embeddings},
    KeyRow{"embedding_length_per_layer_input", Use::ignored, other_model},
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
    KeyRow{"xielu.*", Use::ignored, other_model},
    KeyRow{"adapters.*", Use::ignored, other_model},
    KeyRow{"altup.*", Use::ignored, other_model},
    KeyRow{"activation_sparsity_scale", Use::ignored, other_model},
    KeyRow{"num_loops", Use::ignored, other_model},
    KeyRow{"skip_loop_final_norm", Use::ignored, other_model},
    KeyRow{"conv_*", Use::ignored, other_model},
    KeyRow{"block_size", Use::ignored, drafts},
    KeyRow{"norm_before_*", Use::ignored, drafts},
    KeyRow{"selector_*", Use::ignored, drafts},
    KeyRow{"target_*", Use::ignored, drafts},
    KeyRow{"has_confidence_head", Use::ignored, drafts},
    KeyRow{"sample_from_anchor", Use::ignored, drafts},
};

/// One '*' at most.
bool fits(std::string_view pattern, std::string_view name) {
  const size_t star = pattern.find('*');
  if (star == pattern.npos) return pattern == name;
  const std::string_view before = pattern.substr(0, star), after = pattern.substr(star + 1);
  return name.size() >= before.size() + after.size() && name.starts_with(before) &&
         name.ends_with(after);
}

bool is_multiplier(std::string_view name) {
  return name.ends_with("scale") || name.ends_with("factor") || name.ends_with("multiplier");
}

}  // namespace

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
