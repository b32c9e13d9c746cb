// Jais 2: LayerNorms, squared ReLU, biases.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture jais2 = {
    .name = "jais2",
    .norms = {.formula = Norms::Formula::layer, .biases = Presence::required},
    .attention = {.out_bias = Presence::required},
    .ffn = {.shape = FeedForward::Shape::plain,
            .activation = op::Activation::relu_squared,
            .biases = Presence::required}};

}  // namespace assay::model
