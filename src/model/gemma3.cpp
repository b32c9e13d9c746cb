// Gemma 3: norms per head and on both sides, windows in five of six layers with a base of their own.
#include <cmath>

#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr std::string_view unused[] = {"dense_2.weight", "dense_3.weight"};  // of embeddings

constexpr SourceClass classes[] = {{"Gemma3ForCausalLM", "gemma3_text", 1000000}};

constexpr TensorRow tensors[] = {
    {"output_norm", "model.norm", plus_one},
    {"blk.{}.attn_norm", "model.layers.{}.input_layernorm", plus_one},
    {"blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm", plus_one},
    {"blk.{}.ffn_norm", "model.layers.{}.pre_feedforward_layernorm", plus_one},
    {"blk.{}.post_ffw_norm", "model.layers.{}.post_feedforward_layernorm", plus_one},
    {"blk.{}.attn_q_norm", "model.layers.{}.self_attn.q_norm", plus_one},
    {"blk.{}.attn_k_norm", "model.layers.{}.self_attn.k_norm", plus_one}};

constexpr ConfigRow config_rows[] = {
    {"hidden_activation", "hidden_activation|hidden_act", FieldType::text, false,
     "gelu_pytorch_tanh|gelu"},
    {"", "use_bidirectional_attention", FieldType::flag, false, "false"},
    {"final_logit_softcapping", "final_logit_softcapping", FieldType::real}};

void more(Config& config, Keys& out) {
  set_window(config, out,
             config.integer("sliding_window_pattern|_sliding_window_pattern").value_or(6));
  out.set("attention.scale", float(1.0 / std::sqrt(config.need_real("query_pre_attn_scalar"))));
}

}  // namespace

extern constexpr Architecture gemma3 = {
    .name = "gemma3",
    .norms = {.after_attention = "post_attention_norm", .after_ffn = "post_ffw_norm"},
    .embedding = {.scale = Embedding::Scale::root_of_width},
    .head = {.soft_cap = 0},
    .attention = {.out_bias = Presence::optional,
                  .norms = {.presence = Presence::required},
                  .scale = Attention::Scale::key,
                  .root_of_width_with = 62},
    .windows = {.size = Presence::optional, .period = 6},
    .rope = {.window_base = Rotation::Base::own_10000,
             .window_scaling = Rotation::Scaling::unstretched},
    .ffn = {.activation = op::Activation::gelu_tanh},
    .unused_tensors = unused,
    .conversion = {.classes = classes, .tensors = tensors, .config = config_rows, .more = more}};

}  // namespace assay::model
