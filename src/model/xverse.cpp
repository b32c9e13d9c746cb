// XVERSE.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture xverse = {.name = "xverse",
                                        .head = {.weight = Presence::required},
                                        .rope = {.pairs = Rotation::Pairs::adjacent}};

}  // namespace assay::model
