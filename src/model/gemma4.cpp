// Gemma 4 (text): layers with windows and without differ in heads and their length; values may be
// keys; the last layers read caches of earlier ones; an embedding for each layer; experts beside the
// feed-forward part.
#include <fmt/format.h>

#include <algorithm>

#include "gguf/reader.h"
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Gemma4ForCausalLM", "gemma4_text", 1000000}};

constexpr TensorRow tensors[] = {
    {"blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm"},
    {"blk.{}.ffn_norm", "model.layers.{}.pre_feedforward_layernorm"},
    {"blk.{}.post_ffw_norm", "model.layers.{}.post_feedforward_layernorm"},
    {"blk.{}.layer_output_scale.weight", "model.layers.{}.layer_scalar"},
    // the embedding for each layer
    {"per_layer_token_embd", "model.embed_tokens_per_layer"},
    {"per_layer_model_proj", "model.per_layer_model_projection"},
    {"per_layer_proj_norm", "model.per_layer_projection_norm"},
    {"blk.{}.inp_gate", "model.layers.{}.per_layer_input_gate"},
    {"blk.{}.proj", "model.layers.{}.per_layer_projection"},
    {"blk.{}.post_norm", "model.layers.{}.post_per_layer_input_norm"},
    // experts
    {"blk.{}.ffn_gate_inp", "model.layers.{}.router.proj"},
    {"blk.{}.ffn_gate_inp.scale", "model.layers.{}.router.scale"},
    {"blk.{}.ffn_down_exps.scale", "model.layers.{}.router.per_expert_scale"},
    {"blk.{}.ffn_gate_up_exps.weight", "model.layers.{}.experts.gate_up_proj"},
    {"blk.{}.ffn_down_exps.weight", "model.layers.{}.experts.down_proj"},
    {"blk.{}.post_ffw_norm_1", "model.layers.{}.post_feedforward_layernorm_1"},
    {"blk.{}.pre_ffw_norm_2", "model.layers.{}.pre_feedforward_layernorm_2"},
    {"blk.{}.post_ffw_norm_2", "model.layers.{}.post_feedforward_layernorm_2"}};

constexpr ConfigRow config_rows[] = {
    {"expert_feed_forward_length", "moe_intermediate_size"},
    {"hidden_activation", "hidden_activation", FieldType::text, false, "gelu_pytorch_tanh|gelu"},
    {"", "use_bidirectional_attention", FieldType::text, false, "vision"},
    {"", "per_layer_config", FieldType::text}};

/// What blocks have for themselves: those without a window another length and count of KV heads.
/// Older folders have global_head_dim and num_global_key_value_heads in the place of per_layer_config.
std::vector<uint32_t> by_layer(Config& config, const char* field, const char* whole,
                               std::optional<uint32_t> fallback,
                               const std::vector<bool>& windowed) {
  std::vector<uint32_t> values = config.integers_of_layers(field, uint32_t(windowed.size()));
  if (config.has("per_layer_config")) return values;
  const auto other = config.has(whole) ? config.integer(whole) : fallback;
  for (size_t i = 0; i < values.size() && other; ++i)
    if (!windowed[i]) values[i] = *other;
  return values;
}

void check_overrides(Config& config) {
  for (const std::string& layer : config.names("per_layer_config"))
    for (const std::string& name : config.names("per_layer_config." + layer))
      if (name != "head_dim" && name != "num_key_value_heads")
        config.fail(
            fmt::format("'per_layer_config' sets '{}'; assay's 'gemma4' has head_dim and "
                        "num_key_value_heads only",
                        gguf::printable(name)));
}

/// The length of heads of layers with or without a window, which must be one.
void set_length(Config& config, Keys& out, const std::vector<uint32_t>& lengths,
                const std::vector<bool>& windowed, bool window) {
  const std::string suffix = window ? "_swa" : "";
  std::optional<uint32_t> length;
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (windowed[i] != window) continue;
    if (length && *length != lengths[i])
      config.fail(fmt::format("'head_dim' is {} and {} in layers of one kind; a GGUF file has one",
                              *length, lengths[i]));
    length = lengths[i];
  }
  const uint32_t own = length.value_or(config.need_integer("head_dim"));
  for (const char* key : {"attention.key_length", "attention.value_length", "rope.dimension_count"})
    out.set(key + suffix, own);
}

std::vector<int32_t> listed(const std::vector<uint32_t>& values) {
  return {values.begin(), values.end()};
}

void more(Config& config, Keys& out) {
  const uint32_t blocks = config.need_integer("num_hidden_layers");
  set_window(config, out, [&](uint32_t i) { return (i + 1) % 6 != 0 && i + 1 < blocks; });
  const KeyValue* pattern = out.find("attention.sliding_window_pattern");
  if (!pattern) config.fail("'sliding_window' is missing");
  check_overrides(config);
  if (config.failed()) return;
  const auto windowed = std::get<std::vector<bool>>(*pattern);
  const auto lengths = by_layer(config, "head_dim", "global_head_dim", 512, windowed);
  set_length(config, out, lengths, windowed, false);
  set_length(config, out, lengths, windowed, true);

  const bool values_are_keys = config.flag("attention_k_eq_v").value_or(false);
  const auto heads = by_layer(config, "num_key_value_heads",
                              values_are_keys ? "num_global_key_value_heads" : "", {}, windowed);
  out.set("attention.head_count_kv", listed(heads));
  const uint32_t shared = config.integer("num_kv_shared_layers").value_or(0);
  out.set("attention.shared_kv_layers", shared);
  std::vector<uint32_t> widths(blocks, config.need_integer("intermediate_size"));
  if (config.flag("use_double_wide_mlp").value_or(false) && shared <= blocks)
    for (uint32_t i = blocks - shared; i < blocks; ++i) widths[i] *= 2;
  out.set("feed_forward_length", listed(widths));

  const uint32_t width = config.need_integer("hidden_size_per_layer_input");
  out.set("embedding_length_per_layer_input", width);
  const uint32_t rows = width ? config.need_integer("vocab_size_per_layer_input") : 0;
  if (width && rows != config.need_integer("vocab_size"))
    config.fail(
        fmt::format("'vocab_size_per_layer_input' is {} beside a vocab_size of {}; a GGUF "
                    "file has one vocabulary",
                    rows, config.need_integer("vocab_size")));
  // A cap that is null is off; a file without the key has the released models'.
  out.set("final_logit_softcapping", float(config.real("final_logit_softcapping").value_or(0)));
  if (!config.has("rope_parameters")) config.fail("'rope_parameters' is missing");
}

}  // namespace

extern constexpr Architecture gemma4 = {
    .name = "gemma4",
    .norms = {.after_attention = "post_attention_norm", .after_ffn = "post_ffw_norm"},
    .embedding = {.scale = Embedding::Scale::root_of_width, .per_layer = Presence::optional},
    .head = {.soft_cap = 30},
    .attention = {.out_bias = Presence::optional,
                  .norms = {.presence = Presence::required},
                  .value_norm = true,
                  .scale = Attention::Scale::one,
                  .by_layer = true,
                  .lengths_by_window = true,
                  .value_may_be_key = true,
                  .shares_caches = true},
    .windows = {.size = Presence::required, .list_required = true},
    .rope = {.factors = RopeFactors::wanted,
             .window_base = Rotation::Base::own_10000,
             .window_scaling = Rotation::Scaling::unstretched,
             .window_dimensions = true},
    .ffn = {.activation = op::Activation::gelu_tanh,
            .scales = FeedForward::Scales::all,
            .by_layer = true},
    .experts = {.where = Experts::Where::by_tensor,
                .renormalise = Experts::Renormalise::always,
                .activation = op::Activation::gelu_tanh,
                .scales = true,
                .bare_router_norm = true,
                .dense = Experts::Dense::with_norms},
    .layer_scale = Architecture::LayerScale::output,
    .conversion = {.classes = classes, .tensors = tensors, .config = config_rows, .more = more}};

}  // namespace assay::model
