// Refact: ALiBi, RMS norms.
#include "model/architecture.h"

namespace assay::model {

namespace {

// llama.cpp's reader of files with experts leaves the feed-forward part out.
constexpr KeyRow keys[] = {{"expert_count", Use::neutral, "0"}};

}  // namespace

extern constexpr Architecture refact = {
    .name = "refact",
    .attention = {.out_bias = Presence::unused, .alibi = 8},
    .rope = {.pairs = Rotation::Pairs::none, .factors = RopeFactors::unused},
    .ffn = {.biases = Presence::unused},
    .keys = keys};

}  // namespace assay::model
