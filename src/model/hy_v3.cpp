// Hunyuan 3: norms per head, a sigmoid router with a bias that only chooses, a shared expert.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture hy_v3 = {.name = "hy_v3",
                                       .attention = {.norms = {.presence = Presence::required}},
                                       .ffn = {.scales = FeedForward::Scales::all},
                                       .experts = {.where = Experts::Where::by_tensor,
                                                   .scores = Experts::Scores::key,
                                                   .default_scores = 2,
                                                   .choice_bias = Presence::optional,
                                                   .renormalise = Experts::Renormalise::key,
                                                   .scale = true,
                                                   .width = Experts::Width::own_or_share,
                                                   .scales = true,
                                                   .shared = Experts::Shared::own_or_expert,
                                                   .shared_scales = true},
                                       .drafts = true};

}  // namespace assay::model
