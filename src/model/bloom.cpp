// BLOOM: ALiBi, LayerNorms, a norm after the embedding.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture bloom = {
    .name = "bloom",
    .norms = {.formula = Norms::Formula::layer, .biases = Presence::required},
    .embedding = {.norm = Embedding::Norm::tensor},
    .attention = {.qkv_biases = Presence::required, .out_bias = Presence::required, .alibi = 8},
    .rope = {.pairs = Rotation::Pairs::none},
    .ffn = {.shape = FeedForward::Shape::plain,
            .activation = op::Activation::gelu_tanh,
            .biases = Presence::required}};

}  // namespace assay::model
