// InternLM 2 and 3.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture internlm2 = {.name = "internlm2",
                                           .head = {.weight = Presence::required},
                                           .rope = {.pairs = Rotation::Pairs::adjacent}};

}  // namespace assay::model
