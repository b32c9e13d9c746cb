// Orion: LayerNorms with biases.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture orion = {
    .name = "orion",
    .norms = {.kind = Norms::Kind::layer, .biases = Presence::required},
    .head = {.weight = Presence::required}};

}  // namespace assay::model
