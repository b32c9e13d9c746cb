// Maple: norms per head, RoPE in windowed layers alone, experts with limits.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture maple = {
    .name = "maple",
    .head = {.weight = Presence::required},
    .attention = {.norms = {.presence = Presence::required}},
    .windows = {.size = Presence::required, .list_required = true},
    .rope = {.layers = Rotation::Layers::windowed,
             .window_base = Rotation::Base::own,
             .window_dimensions = true},
    .experts = {.where = Experts::Where::everywhere,
                .renormalise = Experts::Renormalise::always,
                .clamp = true}};

}  // namespace assay::model
