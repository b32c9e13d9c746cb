// Spark 2.5: gated heads that differ by layer, windows, GEGLU.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture spark2_5 = {
    .name = "spark2_5",
    .attention = {.gate = op::Activation::sigmoid, .by_layer = true},
    .windows = {.size = Presence::required, .list_required = true},
    .rope = {.window_base = Rotation::Base::own, .window_dimensions = true},
    .ffn = {.activation = op::Activation::gelu_tanh}};

}  // namespace assay::model
