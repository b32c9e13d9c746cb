// Arcee AFM: squared ReLU without a gate.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"ArceeForCausalLM", "arcee"}};

constexpr TensorRow tensors[] = {{"blk.{}.attn_q", "model.layers.{}.self_attn.q_proj", pair_rows},
                                 {"blk.{}.attn_k", "model.layers.{}.self_attn.k_proj", pair_rows}};

constexpr ConfigRow config_rows[] = {{"", "hidden_act", Kind::text, false, "relu2"}};

}  // namespace

extern constexpr Architecture arcee = {
    .name = "arcee",
    .attention = {.out_bias = Presence::optional},
    .rope = {.pairs = Rotation::Pairs::adjacent, .factors = RopeFactors::rope_freqs},
    .ffn = {.shape = FeedForward::Shape::plain,
            .activation = op::Activation::relu_squared,
            .biases = Presence::optional},
    .conversion = {.classes = classes, .tensors = tensors, .config = config_rows}};

}  // namespace assay::model
