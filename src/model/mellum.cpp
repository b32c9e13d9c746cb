// Mellum 2: norms per head, windows without RoPE scaling, experts.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture mellum = {.name = "mellum",
                                        .head = {.weight = Presence::required},
                                        .attention = {.norms = {.presence = Presence::required}},
                                        .windows = {.size = Presence::optional, .period = 4},
                                        .rope = {.window_scaling = Rotation::Scaling::none},
                                        .experts = {.where = Experts::Where::everywhere,
                                                    .renormalise = Experts::Renormalise::always,
                                                    .scales = true}};

}  // namespace assay::model
