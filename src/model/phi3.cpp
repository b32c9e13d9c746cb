// Phi 3, 3.5 and 4: fused matrices, RoPE of a part of each head, long and short factors.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture phi3 = {
    .name = "phi3", .fused_ffn = true, .ffn_scales = false, .factors = RopeFactors::long_short};

}  // namespace assay::model
