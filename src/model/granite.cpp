// Granite: factors of the embedding, the residual, attention and the logits.
#include "model/granite.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"GraniteForCausalLM", "granite"}};

}  // namespace

extern constexpr Architecture granite = {
    .name = "granite",
    .embedding = {.scale = Embedding::Scale::key},
    .head = {.scale = Head::Scale::divides},
    .attention = {.out_bias = Presence::optional, .scale = Attention::Scale::key},
    .rope = {.pairs = Rotation::Pairs::adjacent, .finetuned_switches = true},
    .ffn = {.biases = Presence::optional},
    .experts = {.where = Experts::Where::counted,
                .renormalise = Experts::Renormalise::always,
                .width = Experts::Width::ffn,
                .shared = Experts::Shared::own},
    .residual_scale = true,
    .keys = granite_keys,
    .conversion = {.classes = classes, .tensors = paired_tensors, .config = granite_config}};

}  // namespace assay::model
