// Maincoder: norms per head after RoPE.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture maincoder = {
    .name = "maincoder",
    .attention = {.norms = {.presence = Presence::required, .after_rope = true}},
    .rope = {.pairs = Rotation::Pairs::adjacent}};

}  // namespace assay::model
