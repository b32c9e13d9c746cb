// Falcon: parallel blocks; the large ones have a second norm, of attention alone.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture falcon = {
    .name = "falcon",
    .norms = {.formula = Norms::Formula::layer,
              .biases = Presence::required,
              .of_attention_alone = "attn_norm_2",
              .before_ffn = {}},
    .ffn = {.shape = FeedForward::Shape::plain, .activation = op::Activation::gelu_tanh},
    .parallel = Architecture::Parallel::always};

}  // namespace assay::model
