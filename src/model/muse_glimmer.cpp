// Muse Glimmer: gated attention, norms everywhere, RoPE in windowed layers alone, capped logits.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture muse_glimmer = {
    .name = "muse-glimmer",
    .norms = {.after_attention = "post_attention_norm",
              .after_ffn = "post_ffw_norm",
              .eps_after = 1e-8f},
    .embedding = {.norm = Embedding::Norm::bare},
    .head = {.weight = Presence::required, .scale = Head::Scale::multiplies, .soft_cap = 30},
    .attention = {.norms = {.presence = Presence::required}, .gate = op::Activation::sigmoid},
    .windows = {.size = Presence::required, .period = 4},
    .rope = {.pairs = Rotation::Pairs::adjacent,
             .layers = Rotation::Layers::windowed,
             .window_base = Rotation::Base::own,
             .window_scaling = Rotation::Scaling::unstretched}};

}  // namespace assay::model
