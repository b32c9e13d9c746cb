// OLMoE: norms over all heads, experts that are not renormalised.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"OlmoeForCausalLM", "olmoe"}};

constexpr ConfigRow config_rows[] = {{"expert_weights_norm", "norm_topk_prob", FieldType::flag},
                                     {"", "clip_qkv", FieldType::real, false, "none"}};

}  // namespace

extern constexpr Architecture olmoe = {
    .name = "olmoe",
    .head = {.weight = Presence::required},
    .attention = {.out_bias = Presence::optional,
                  .norms = {.presence = Presence::required, .over = HeadNorms::Over::all_heads}},
    .experts = {.where = Experts::Where::everywhere,
                .renormalise = Experts::Renormalise::key,
                .llama_cpp_keeps_weights = true,
                .width = Experts::Width::ffn},
    .conversion = {.classes = classes, .config = config_rows}};

}  // namespace assay::model
