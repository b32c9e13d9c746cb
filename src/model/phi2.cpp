// Phi 1, 1.5 and 2: parallel blocks from one LayerNorm, RoPE of a part of each head.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture phi2 = {
    .name = "phi2",
    .norms = {.formula = Norms::Formula::layer, .biases = Presence::required, .before_ffn = {}},
    .head = {.weight = Presence::required, .bias = Presence::required},
    .attention = {.out_bias = Presence::required},
    .ffn = {.shape = FeedForward::Shape::plain,
            .activation = op::Activation::gelu_tanh,
            .biases = Presence::required},
    .parallel = Architecture::Parallel::always};

}  // namespace assay::model
