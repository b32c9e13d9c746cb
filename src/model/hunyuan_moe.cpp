// Hunyuan with experts: norms per head after RoPE, a shared expert.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture hunyuan_moe = {
    .name = "hunyuan-moe",
    .attention = {.norms = {.presence = Presence::required, .after_rope = true}},
    .experts = {.where = Experts::Where::everywhere,
                .renormalise = Experts::Renormalise::always,
                .width = Experts::Width::ffn,
                .shared = Experts::Shared::own_or_ffn}};

}  // namespace assay::model
