// Gemma 2: norms on both sides, a window in every other layer, soft caps.
#include <cmath>

#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Gemma2ForCausalLM", "gemma2"}};

constexpr TensorRow tensors[] = {
    {"output_norm", "model.norm", plus_one},
    {"blk.{}.attn_norm", "model.layers.{}.input_layernorm", plus_one},
    {"blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm", plus_one},
    {"blk.{}.ffn_norm", "model.layers.{}.pre_feedforward_layernorm", plus_one},
    {"blk.{}.post_ffw_norm", "model.layers.{}.post_feedforward_layernorm", plus_one}};

constexpr ConfigRow config_rows[] = {
    {"hidden_activation", "hidden_activation|hidden_act", FieldType::text, false,
     "gelu_pytorch_tanh|gelu"},
    {"", "use_bidirectional_attention", FieldType::flag, false, "false"}};

void more(Config& config, Keys& out) {
  out.set("attention.sliding_window", 0u);
  set_window(config, out, 2);
  out.set("attention.scale", float(1.0 / std::sqrt(config.need_real("query_pre_attn_scalar"))));
  // A cap that is null is off; a file without the key has the released models'.
  for (const char* cap : {"attn_logit_softcapping", "final_logit_softcapping"})
    out.set(cap, float(config.real(cap).value_or(0)));
}

}  // namespace

extern constexpr Architecture gemma2 = {
    .name = "gemma2",
    .norms = {.after_attention = "post_attention_norm", .after_ffn = "post_ffw_norm"},
    .embedding = {.scale = Embedding::Scale::root_of_width},
    .head = {.soft_cap = 30},
    .attention = {.out_bias = Presence::optional,
                  .scale = Attention::Scale::key,
                  .root_of_width_with = 46,
                  .soft_cap = 50},
    .windows = {.size = Presence::optional, .default_size = 4096, .period = 2},
    .rope = {.window_base = Rotation::Base::own},
    .ffn = {.activation = op::Activation::gelu_tanh},
    .conversion = {.classes = classes, .tensors = tensors, .config = config_rows, .more = more}};

}  // namespace assay::model
