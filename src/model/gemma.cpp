// Gemma 1: GEGLU, the embedding times the root of its width.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture gemma = {.name = "gemma",
                                       .embedding = {.scale = Embedding::Scale::root_of_width},
                                       .head = {.weight = Presence::absent},
                                       .ffn = {.activation = op::Activation::gelu_tanh}};

}  // namespace assay::model
