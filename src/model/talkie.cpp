// Talkie: norms without weights, a gain for each head of q, the embedding again in every block.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture talkie = {
    .name = "talkie",
    .norms = {.weights = false},
    .embedding = {.norm = Embedding::Norm::bare},
    .head = {.weight = Presence::required, .scale = Head::Scale::multiplies},
    .attention = {.norms = {.presence = Presence::required,
                            .over = HeadNorms::Over::head_gained,
                            .after_rope = true}},
    .ffn = {.scales = FeedForward::Scales::down},
    .layer_scale = Architecture::LayerScale::embedding};

}  // namespace assay::model
