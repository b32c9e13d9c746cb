// PLaMo: parallel blocks from one norm.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture plamo = {.name = "plamo",
                                       .norms = {.before_ffn = {}},
                                       .head = {.weight = Presence::required},
                                       .parallel = Architecture::Parallel::always};

}  // namespace assay::model
