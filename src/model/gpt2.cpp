// GPT-2: an embedding of positions, LayerNorms, GELU.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture gpt2 = {
    .name = "gpt2",
    .norms = {.formula = Norms::Formula::layer, .biases = Presence::required},
    .embedding = {.positions = Presence::required},
    .attention = {.qkv_biases = Presence::required, .out_bias = Presence::required},
    .rope = {.pairs = Rotation::Pairs::none},
    .ffn = {.shape = FeedForward::Shape::plain,
            .activation = op::Activation::gelu_tanh,
            .biases = Presence::required}};

}  // namespace assay::model
