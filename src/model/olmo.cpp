// OLMo 1: LayerNorms without weights, clamped q, k and v.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture olmo = {.name = "olmo",
                                      .norms = {.formula = Norms::Formula::layer, .weights = false},
                                      .attention = {.clamp = true},
                                      .rope = {.pairs = Rotation::Pairs::adjacent}};

}  // namespace assay::model
