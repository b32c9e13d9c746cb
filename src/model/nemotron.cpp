// Nemotron 3 and 4, Minitron: LayerNorms, squared ReLU, RoPE of a part of each head.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture nemotron = {
    .name = "nemotron",
    .norms = {.formula = Norms::Formula::layer, .biases = Presence::required},
    .head = {.weight = Presence::required},
    .attention = {.out_bias = Presence::optional},
    .ffn = {.shape = FeedForward::Shape::plain,
            .activation = op::Activation::relu_squared,
            .biases = Presence::optional}};

}  // namespace assay::model
