// Cohere 2 with experts: as cohere2, and a shared expert whose mean with the others counts.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture cohere2moe = {
    .name = "cohere2moe",
    .norms = {.formula = Norms::Formula::rms_where_its_eps_is_set, .before_ffn = {}},
    .head = {.scale = Head::Scale::multiplies},
    .windows = {.size = Presence::required, .period = 4, .whole_first = true},
    .rope = {.pairs = Rotation::Pairs::adjacent, .layers = Rotation::Layers::windowed_or_dense},
    .ffn = {.scales = FeedForward::Scales::all},
    .experts = {.where = Experts::Where::after_dense,
                .scores = Experts::Scores::key,
                .default_scores = 2,
                .renormalise = Experts::Renormalise::key,
                .scale = true,
                .width = Experts::Width::own_or_ffn,
                .scales = true,
                .shared = Experts::Shared::own_or_counted,
                .shared_scales = true,
                .sum_scale = 0.5f},
    .parallel = Architecture::Parallel::always,
    .drafts = true};

}  // namespace assay::model
