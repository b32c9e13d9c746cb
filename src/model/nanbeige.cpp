// Nanbeige: all blocks run more than once.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture nanbeige = {.name = "nanbeige",
                                          .rope = {.pairs = Rotation::Pairs::adjacent},
                                          .ffn = {.scales = FeedForward::Scales::all},
                                          .loops = true};

}  // namespace assay::model
