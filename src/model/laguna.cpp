// Laguna: a softplus gate of attention, windows, heads that differ by layer, experts.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture laguna = {
    .name = "laguna",
    .attention = {.norms = {.presence = Presence::required},
                  .gate = op::Activation::softplus,
                  .by_layer = true},
    .windows = {.size = Presence::optional, .period = 4, .whole_first = true},
    .rope = {.window_base = Rotation::Base::own,
             .window_scaling = Rotation::Scaling::none,
             .window_dimensions = true},
    .experts = {.where = Experts::Where::after_dense,
                .scores = Experts::Scores::key,
                .default_scores = 2,
                .choice_bias = Presence::required,
                .renormalise = Experts::Renormalise::key,
                .scale = true,
                .shared = Experts::Shared::own_or_counted,
                .default_shared_count = 1}};

}  // namespace assay::model
