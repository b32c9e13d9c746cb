// StarCoder 2: LayerNorms, GELU, biases, RoPE.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Starcoder2ForCausalLM", "starcoder2"}};

constexpr TensorRow tensors[] = {{"blk.{}.ffn_up", "model.layers.{}.mlp.c_fc"},
                                 {"blk.{}.ffn_down", "model.layers.{}.mlp.c_proj"}};

constexpr ConfigRow config_rows[] = {
    {"attention.layer_norm_epsilon", "norm_epsilon", FieldType::real, true},
    {"attention.layer_norm_rms_epsilon", ""},
    {"hidden_activation", "hidden_act", FieldType::text, false, "gelu_pytorch_tanh|gelu"}};

void window(Config& config, Keys& out) {
  set_window(config, out, 0);
}

}  // namespace

extern constexpr Architecture starcoder2 = {
    .name = "starcoder2",
    .norms = {.formula = Norms::Formula::layer, .biases = Presence::required},
    .attention = {.out_bias = Presence::optional},
    .windows = {.size = Presence::optional, .llama_cpp_ignores = true},
    .ffn = {.shape = FeedForward::Shape::plain,
            .activation = op::Activation::gelu_tanh,
            .biases = Presence::optional},
    .conversion = {.classes = classes, .tensors = tensors, .config = config_rows, .more = window}};

}  // namespace assay::model
