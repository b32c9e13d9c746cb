// Jais: ALiBi, LayerNorms, scores over the whole length of a head.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture jais = {
    .name = "jais",
    .norms = {.formula = Norms::Formula::layer, .biases = Presence::required},
    .head = {.weight = Presence::required},
    .attention = {.qkv_biases = Presence::required,
                  .out_bias = Presence::required,
                  .scale = Attention::Scale::length,
                  .alibi_by_key = true},
    .rope = {.pairs = Rotation::Pairs::none},
    .ffn = {.biases = Presence::required}};

}  // namespace assay::model
