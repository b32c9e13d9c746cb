// DBRX: LayerNorms without biases, clamped q, k and v, experts in every block.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture dbrx = {
    .name = "dbrx",
    .norms = {.formula = Norms::Formula::layer, .before_ffn = "attn_output_norm"},
    .head = {.weight = Presence::required},
    .attention = {.clamp = true},
    .experts = {.where = Experts::Where::everywhere,
                .renormalise = Experts::Renormalise::always,
                .width = Experts::Width::ffn}};

}  // namespace assay::model
