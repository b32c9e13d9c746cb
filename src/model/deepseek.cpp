// The first DeepSeek: experts that are not renormalised, shared ones.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture deepseek = {
    .name = "deepseek",
    .rope = {.pairs = Rotation::Pairs::adjacent},
    .experts = {
        .where = Experts::Where::after_dense, .scale = true, .shared = Experts::Shared::counted}};

}  // namespace assay::model
