// CodeShell: LayerNorms, GELU, biases.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture codeshell = {
    .name = "codeshell",
    .norms = {.formula = Norms::Formula::layer, .biases = Presence::required},
    .embedding = {.may_be_head = true},
    .head = {.weight = Presence::required},
    .attention = {.out_bias = Presence::required},
    .ffn = {.shape = FeedForward::Shape::plain,
            .activation = op::Activation::gelu_tanh,
            .biases = Presence::required}};

}  // namespace assay::model
