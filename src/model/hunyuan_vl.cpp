// The text part of Hunyuan's vision models: as hunyuan-dense, with sections of positions.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture hunyuan_vl = {
    .name = "hunyuan_vl",
    .attention = {.norms = {.presence = Presence::required, .after_rope = true}},
    .rope = {.sections = Rotation::Sections::where_set, .base_grows = true}};

}  // namespace assay::model
