// Qwen 1.5, 2 and 2.5: biases of q, k and v.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture qwen2 = {.name = "qwen2", .ffn_scales = false, .output_bias = true};

}  // namespace assay::model
