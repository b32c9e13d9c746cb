// MiniCPM: factors of the embedding, the residual and the logits.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture minicpm = {
    .name = "minicpm",
    .embedding = {.scale = Embedding::Scale::key, .default_scale = 12},
    .head = {.scale = Head::Scale::divides},
    .attention = {.out_bias = Presence::optional},
    .rope = {.pairs = Rotation::Pairs::adjacent},
    .ffn = {.biases = Presence::optional},
    .experts = {.where = Experts::Where::counted,
                .renormalise = Experts::Renormalise::always,
                .width = Experts::Width::ffn},
    .residual_scale = true,
    .residual_scale_of_depth = 1.4};

}  // namespace assay::model
