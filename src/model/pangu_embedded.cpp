// openPangu Embedded: biases of attention.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture pangu_embedded = {.name = "pangu-embedded",
                                                .attention = {.out_bias = Presence::required},
                                                .rope = {.factors = RopeFactors::unused}};

}  // namespace assay::model
