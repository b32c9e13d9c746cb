// MiMo V2: windows, sinks, values shorter than keys, a sigmoid router.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture mimo2 = {
    .name = "mimo2",
    .head = {.weight = Presence::required},
    .attention = {.qkv_biases = Presence::unused,
                  .qkv_scales = false,
                  .sinks = Presence::optional,
                  .result_scale = true,
                  .by_layer = true},
    .windows = {.size = Presence::required, .list_required = true},
    .rope = {.window_base = Rotation::Base::own_10000,
             .window_scaling = Rotation::Scaling::unstretched},
    .experts = {.where = Experts::Where::by_tensor,
                .scores = Experts::Scores::sigmoid,
                .choice_bias = Presence::optional,
                .renormalise = Experts::Renormalise::always},
    .drafts = true};

}  // namespace assay::model
