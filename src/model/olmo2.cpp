// OLMo 2 and 3: norms after attention and the feed-forward part alone, norms over all heads.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Olmo2ForCausalLM", "olmo2"},
                                   {"Olmo3ForCausalLM", "olmo3", 500000}};

constexpr TensorRow tensors[] = {
    {"blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm"},
    {"blk.{}.post_ffw_norm", "model.layers.{}.post_feedforward_layernorm"}};

void window(Config& config, Keys& out) {
  if (config.type == "olmo3") set_window(config, out, 4);
}

}  // namespace

extern constexpr Architecture olmo2 = {
    .name = "olmo2",
    .norms = {.before_attention = {},
              .after_attention = "post_attention_norm",
              .before_ffn = {},
              .after_ffn = "post_ffw_norm"},
    .head = {.weight = Presence::required},
    .attention = {.out_bias = Presence::optional,
                  .norms = {.presence = Presence::required, .over = HeadNorms::Over::all_heads}},
    .windows = {.size = Presence::optional, .period = 4},
    .rope = {.window_base = Rotation::Base::own, .window_scaling = Rotation::Scaling::none},
    .conversion = {.classes = classes, .tensors = tensors, .more = window}};

}  // namespace assay::model
