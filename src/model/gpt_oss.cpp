// gpt-oss: attention sinks, a window in every other layer, YaRN, clamped SwiGLU, biases everywhere.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"GptOssForCausalLM", "gpt_oss", 150000}};

constexpr TensorRow tensors[] = {
    {"blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm"},
    {"blk.{}.ffn_gate_inp", "model.layers.{}.mlp.router"},
    {"blk.{}.ffn_gate_exps.weight", "model.layers.{}.mlp.experts.gate_up_proj",
     transposed | even_rows},
    {"blk.{}.ffn_up_exps.weight", "model.layers.{}.mlp.experts.gate_up_proj",
     transposed | odd_rows},
    {"blk.{}.ffn_gate_exps.bias", "model.layers.{}.mlp.experts.gate_up_proj_bias", even_rows},
    {"blk.{}.ffn_up_exps.bias", "model.layers.{}.mlp.experts.gate_up_proj_bias", odd_rows},
    {"blk.{}.ffn_down_exps.weight", "model.layers.{}.mlp.experts.down_proj", transposed},
    {"blk.{}.ffn_down_exps.bias", "model.layers.{}.mlp.experts.down_proj_bias"}};

constexpr ConfigRow config_rows[] = {
    {"expert_feed_forward_length", "intermediate_size", FieldType::integer, true},
    {"", "attention_bias", FieldType::flag, false, "true"},
    {"", "swiglu_alpha", FieldType::real, false, "1.702"},
    {"", "swiglu_limit", FieldType::real, false, "7.0|7"}};

void window(Config& config, Keys& out) {
  set_window(config, out, 2);
}

}  // namespace

extern constexpr Architecture gpt_oss = {
    .name = "gpt-oss",
    .norms = {.before_ffn = "post_attention_norm"},
    .head = {.weight = Presence::required},
    .attention = {.out_bias = Presence::required,
                  .sinks = Presence::required,
                  .head_length_is_rope = true},
    .windows = {.size = Presence::required, .period = 2},
    .rope = {.window_base = Rotation::Base::own, .yarn_whole_bounds = false},
    .experts = {.where = Experts::Where::everywhere,
                .scores = Experts::Scores::of_chosen,
                .router_bias = Presence::required,
                .activation = op::Activation::silu_clamped,
                .biases = Presence::required},
    .conversion = {.classes = classes, .tensors = tensors, .config = config_rows, .more = window}};

}  // namespace assay::model
