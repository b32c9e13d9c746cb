// The text part of Qwen 3 VL with experts.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture qwen3vlmoe = {
    .name = "qwen3vlmoe",
    .attention = {.norms = {.presence = Presence::required}},
    .rope = {.sections = Rotation::Sections::interleaved},
    .experts = {.where = Experts::Where::everywhere,
                .renormalise = Experts::Renormalise::always,
                .width = Experts::Width::own_or_share}};

}  // namespace assay::model
