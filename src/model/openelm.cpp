// OpenELM: heads and widths that differ by layer, norms per head.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture openelm = {.name = "openelm",
                                         .head = {.weight = Presence::absent},
                                         .attention = {.qkv_biases = Presence::absent,
                                                       .qkv_scales = false,
                                                       .norms = {.presence = Presence::required},
                                                       .by_layer = true},
                                         .ffn = {.by_layer = true}};

}  // namespace assay::model
