// EXAONE 3.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture exaone = {.name = "exaone",
                                        .rope = {.factors = RopeFactors::rope_freqs}};

}  // namespace assay::model
