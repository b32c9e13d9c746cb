// Ling 2 and Ring 2: norms per head, experts in groups, a bias that only chooses.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture bailingmoe2 = {
    .name = "bailingmoe2",
    .head = {.weight = Presence::required},
    .attention = {.norms = {.presence = Presence::required}},
    .experts = {.where = Experts::Where::after_dense,
                .scores = Experts::Scores::key,
                .choice_bias = Presence::optional,
                .renormalise = Experts::Renormalise::key,
                .scale = true,
                .shared = Experts::Shared::counted_own},
    .drafts = true};

}  // namespace assay::model
