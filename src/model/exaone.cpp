// EXAONE 3.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture exaone = {.name = "exaone"};

}  // namespace assay::model
