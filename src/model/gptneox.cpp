// GPT-NeoX, Pythia: parallel or sequential blocks, RoPE of a part of each head.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture gptneox = {
    .name = "gptneox",
    .norms = {.formula = Norms::Formula::layer, .biases = Presence::required},
    .head = {.weight = Presence::required},
    .attention = {.qkv_biases = Presence::required, .out_bias = Presence::required},
    .ffn = {.shape = FeedForward::Shape::plain,
            .activation = op::Activation::gelu_tanh,
            .biases = Presence::required},
    .parallel = Architecture::Parallel::key};

}  // namespace assay::model
