// Granite: factors of the embedding, the residual, attention and the logits.
#include "model/architecture.h"

namespace assay::model {

namespace {

// Where images enter; -1 everywhere in files of text models.
constexpr KeyRow keys[] = {{"deepstack_mapping", Use::neutral, "-1"}};

constexpr SourceClass classes[] = {{"GraniteForCausalLM", "granite"}};

constexpr TensorRow tensors[] = {{"blk.{}.attn_q", "model.layers.{}.self_attn.q_proj", pair_rows},
                                 {"blk.{}.attn_k", "model.layers.{}.self_attn.k_proj", pair_rows}};

constexpr ConfigRow config_rows[] = {{"attention.scale", "attention_multiplier", Kind::real, true},
                                     {"embedding_scale", "embedding_multiplier", Kind::real, true},
                                     {"residual_scale", "residual_multiplier", Kind::real, true},
                                     {"logit_scale", "logits_scaling", Kind::real, true}};

}  // namespace

extern constexpr Architecture granite = {
    .name = "granite",
    .embedding = {.scale = Embedding::Scale::key},
    .head = {.scale = Head::Scale::divides},
    .attention = {.out_bias = Presence::optional, .scale = Attention::Scale::key},
    .rope = {.pairs = Rotation::Pairs::adjacent,
             .finetuned_switches = true,
             .factors = RopeFactors::rope_freqs},
    .ffn = {.biases = Presence::optional},
    .experts = {.where = Experts::Where::counted,
                .renormalise = Experts::Renormalise::always,
                .width = Experts::Width::ffn,
                .shared = Experts::Shared::own},
    .residual_scale = true,
    .keys = keys,
    .conversion = {.classes = classes, .tensors = tensors, .config = config_rows}};

}  // namespace assay::model
