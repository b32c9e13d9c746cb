// Orion: LayerNorms with biases.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture orion = {
    .name = "orion",
    .norms = {.formula = Norms::Formula::layer, .biases = Presence::required},
    .head = {.weight = Presence::required}};

}  // namespace assay::model
