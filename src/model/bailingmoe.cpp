// Ling: experts in every block.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture bailingmoe = {.name = "bailingmoe",
                                            .head = {.weight = Presence::required},
                                            .attention = {.head_length_is_rope = true},
                                            .rope = {.pairs = Rotation::Pairs::adjacent},
                                            .experts = {.where = Experts::Where::everywhere,
                                                        .renormalise = Experts::Renormalise::key,
                                                        .scale = true,
                                                        .shared = Experts::Shared::counted}};

}  // namespace assay::model
