// Granite with windows and attention sinks; a list says which layers turn.
#include "model/architecture.h"

namespace assay::model {

namespace {

// Where images enter; -1 everywhere in files of text models.
constexpr KeyRow keys[] = {{"deepstack_mapping", Use::neutral, "-1"}};

}  // namespace

extern constexpr Architecture granite_swa = {
    .name = "granite_swa",
    .embedding = {.scale = Embedding::Scale::key},
    .head = {.scale = Head::Scale::divides},
    .attention = {.out_bias = Presence::optional,
                  .scale = Attention::Scale::key,
                  .sinks = Presence::required},
    .windows = {.size = Presence::required, .list_required = true},
    .rope = {.pairs = Rotation::Pairs::adjacent, .listed = true},
    .ffn = {.biases = Presence::optional},
    .experts = {.where = Experts::Where::counted,
                .renormalise = Experts::Renormalise::always,
                .width = Experts::Width::ffn,
                .shared = Experts::Shared::own,
                .shared_fused = true},
    .residual_scale = true,
    .keys = keys};

}  // namespace assay::model
