// MPT: ALiBi, LayerNorms, clamped q, k and v, GELU.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture mpt = {
    .name = "mpt",
    .norms = {.formula = Norms::Formula::layer, .biases = Presence::optional},
    .embedding = {.positions = Presence::optional},
    .attention = {.out_bias = Presence::optional,
                  .norms = {.presence = Presence::optional,
                            .over = HeadNorms::Over::all_heads,
                            .formula = Norms::Formula::layer,
                            .biases = Presence::optional,
                            .together = true},
                  .clamp = true,
                  .alibi_by_key = true},
    .rope = {.pairs = Rotation::Pairs::none},
    .ffn = {.shape = FeedForward::Shape::plain,
            .activation = op::Activation::gelu_tanh,
            .biases = Presence::optional}};

}  // namespace assay::model
