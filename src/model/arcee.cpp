// Arcee AFM: squared ReLU without a gate.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"ArceeForCausalLM", "arcee"}};

constexpr ConfigRow config_rows[] = {{"", "hidden_act", FieldType::text, false, "relu2"}};

}  // namespace

extern constexpr Architecture arcee = {
    .name = "arcee",
    .attention = {.out_bias = Presence::optional},
    .rope = {.pairs = Rotation::Pairs::adjacent},
    .ffn = {.shape = FeedForward::Shape::plain,
            .activation = op::Activation::relu_squared,
            .biases = Presence::optional},
    .conversion = {.classes = classes, .tensors = paired_tensors, .config = config_rows}};

}  // namespace assay::model
