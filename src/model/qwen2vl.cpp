// The text part of Qwen 2 VL and 2.5 VL: sections of positions.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture qwen2vl = {.name = "qwen2vl",
                                         .norms = {.least_eps = 1e-30f},
                                         .head = {.bias = Presence::unused},
                                         .rope = {.sections = Rotation::Sections::required}};

}  // namespace assay::model
