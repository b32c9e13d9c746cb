// EXAONE 4: norms after attention and the feed-forward part alone, RoPE in windowed layers alone.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Exaone4ForCausalLM", "exaone4"}};

constexpr TensorRow tensors[] = {
    {"blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm"},
    {"blk.{}.post_ffw_norm", "model.layers.{}.post_feedforward_layernorm"}};

/// Without a window RoPE turns in all blocks, else in those that have it.
void window(Config& config, Keys& out) {
  out.set("attention.sliding_window", 0u);
  // The pattern of released folders is a text, which means nothing beside their layer_types.
  const bool listed = config.has("layer_types");
  set_window(config, out, listed ? 1 : config.integer("sliding_window_pattern").value_or(4));
  if (const KeyValue* windowed = out.find("attention.sliding_window_pattern"))
    out.set("attention.rope_pattern", KeyValue(*windowed));
}

}  // namespace

extern constexpr Architecture exaone4 = {
    .name = "exaone4",
    .norms = {.before_attention = {},
              .after_attention = "post_attention_norm",
              .before_ffn = {},
              .after_ffn = "post_ffw_norm"},
    .attention = {.norms = {.presence = Presence::required}},
    .windows = {.size = Presence::optional, .default_size = 4096, .period = 4, .unlisted_with = 64},
    .rope = {.layers = Rotation::Layers::windowed,
             .listed = true,
             .window_base = Rotation::Base::own},
    .drafts = true,
    .conversion = {.classes = classes, .tensors = tensors, .more = window}};

}  // namespace assay::model
