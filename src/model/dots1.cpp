// dots.llm1: norms per head, a router with a bias that only chooses.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture dots1 = {.name = "dots1",
                                       .head = {.weight = Presence::required},
                                       .attention = {.norms = {.presence = Presence::required}},
                                       .experts = {.where = Experts::Where::after_dense,
                                                   .scores = Experts::Scores::key,
                                                   .choice_bias = Presence::optional,
                                                   .renormalise = Experts::Renormalise::key,
                                                   .scale = true,
                                                   .shared = Experts::Shared::counted}};

}  // namespace assay::model
