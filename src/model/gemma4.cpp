// Gemma 4 (text): layers with windows and without differ in heads and their length; values may be
// keys; the last layers read caches of earlier ones; an embedding for each layer; experts beside the
// feed-forward part.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture gemma4 = {
    .name = "gemma4",
    .norms = {.after_attention = "post_attention_norm", .after_ffn = "post_ffw_norm"},
    .embedding = {.scale = Embedding::Scale::root_of_width, .per_layer = Presence::optional},
    .head = {.soft_cap = 30},
    .attention = {.norms = {.presence = Presence::required},
                  .value_norm = true,
                  .scale = Attention::Scale::one,
                  .by_layer = true,
                  .lengths_by_window = true,
                  .value_may_be_key = true,
                  .shares_caches = true},
    .windows = {.size = Presence::required, .list_required = true},
    .rope = {.factors = RopeFactors::whole_layers,
             .window_base = Rotation::Base::own_10000,
             .window_scaling = Rotation::Scaling::unstretched,
             .window_dimensions = true},
    .ffn = {.activation = op::Activation::gelu_tanh,
            .scales = FeedForward::Scales::all,
            .by_layer = true},
    .experts = {.where = Experts::Where::by_tensor,
                .renormalise = Experts::Renormalise::always,
                .activation = op::Activation::gelu_tanh,
                .scales = true,
                .bare_router_norm = true,
                .dense = Experts::Dense::with_norms},
    .layer_scale = Architecture::LayerScale::output};

}  // namespace assay::model
