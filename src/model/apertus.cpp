// Apertus: xIELU, norms per head.
#include "model/architecture.h"

namespace assay::model {

namespace {

// The norms have no bias in the model's own code.
constexpr std::string_view unused[] = {"blk.*.attn_q_norm.bias", "blk.*.attn_k_norm.bias"};

constexpr SourceClass classes[] = {{"ApertusForCausalLM", "apertus", 12000000}};

constexpr TensorRow tensors[] = {{"blk.{}.attn_norm", "model.layers.{}.attention_layernorm"},
                                 {"blk.{}.ffn_norm", "model.layers.{}.feedforward_layernorm"}};

constexpr ConfigRow config_rows[] = {{"", "hidden_act", FieldType::text, false, "xielu"}};

constexpr NumberRow numbers[] = {{".xielu.alpha_n", "model.layers.{}.mlp.act_fn.alpha_n"},
                                 {".xielu.alpha_p", "model.layers.{}.mlp.act_fn.alpha_p"},
                                 {".xielu.beta", "model.layers.{}.mlp.act_fn.beta"},
                                 {".xielu.eps", "model.layers.{}.mlp.act_fn.eps"}};

}  // namespace

extern constexpr Architecture apertus = {
    .name = "apertus",
    .head = {.weight = Presence::required},
    .attention = {.out_bias = Presence::optional, .norms = {.presence = Presence::required}},
    .ffn = {.shape = FeedForward::Shape::plain, .xielu = true},
    .unused_tensors = unused,
    .conversion = {
        .classes = classes, .tensors = tensors, .config = config_rows, .numbers = numbers}};

}  // namespace assay::model
