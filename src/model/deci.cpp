// Nemotron Super and Ultra of Llama's kind: blocks differ, and may lack attention or the feed-forward
// part.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture deci = {
    .name = "deci",
    .attention = {.out_bias = Presence::optional, .by_layer = true},
    .rope = {.pairs = Rotation::Pairs::adjacent},
    .ffn = {.biases = Presence::optional, .by_layer = true}};

}  // namespace assay::model
