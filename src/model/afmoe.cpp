// Arcee Trinity: gated attention, norms on both sides, windows, a sigmoid router.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture afmoe = {
    .name = "afmoe",
    .norms = {.after_attention = "post_attention_norm", .after_ffn = "post_ffw_norm"},
    .embedding = {.scale = Embedding::Scale::root_of_width},
    .attention = {.norms = {.presence = Presence::required}, .gate = op::Activation::sigmoid},
    .windows = {.size = Presence::optional, .period = 4},
    .rope = {.layers = Rotation::Layers::all_but_each_fourth, .window_base = Rotation::Base::own},
    .experts = {.where = Experts::Where::after_dense,
                .scores = Experts::Scores::key,
                .default_scores = 2,
                .choice_bias = Presence::required,
                .renormalise = Experts::Renormalise::key,
                .scale = true,
                .shared = Experts::Shared::counted}};

}  // namespace assay::model
