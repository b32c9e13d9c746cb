// K-EXAONE: norms per head, RoPE in windowed layers alone, experts.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture exaone_moe = {
    .name = "exaone-moe",
    .head = {.weight = Presence::required},
    .attention = {.norms = {.presence = Presence::required}},
    .windows = {.size = Presence::required, .period = 4},
    .rope = {.layers = Rotation::Layers::windowed},
    .experts = {.where = Experts::Where::after_dense,
                .scores = Experts::Scores::key,
                .choice_bias = Presence::optional,
                .renormalise = Experts::Renormalise::key,
                .scale = true,
                .shared = Experts::Shared::own_or_expert},
    .drafts = true};

}  // namespace assay::model
