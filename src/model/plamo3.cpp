// PLaMo 3: norms on both sides and per head, windows with a base of their own.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture plamo3 = {
    .name = "plamo3",
    .norms = {.after_attention = "post_attention_norm", .after_ffn = "post_ffw_norm"},
    .attention = {.qkv_biases = Presence::absent,
                  .qkv_scales = false,
                  .norms = {.presence = Presence::required},
                  .by_layer = true},
    .windows = {.size = Presence::optional, .period = 8},
    .rope = {.window_base = Rotation::Base::own_10000,
             .window_scaling = Rotation::Scaling::unstretched},
    .ffn = {.shape = FeedForward::Shape::fused, .by_layer = true}};

}  // namespace assay::model
