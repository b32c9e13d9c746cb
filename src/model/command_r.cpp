// Command R: parallel blocks; the large ones have norms with weights for each head.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture command_r = {
    .name = "command-r",
    .norms = {.formula = Norms::Formula::layer, .before_ffn = {}},
    .head = {.weight = Presence::absent, .scale = Head::Scale::multiplies, .default_scale = 0},
    .attention = {.norms = {.presence = Presence::optional,
                            .over = HeadNorms::Over::each_head,
                            .formula = Norms::Formula::layer}},
    .rope = {.pairs = Rotation::Pairs::adjacent},
    .parallel = Architecture::Parallel::always};

}  // namespace assay::model
