// GLM 4.5 to 4.7: a sigmoid router with a bias that only chooses, a shared expert.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Glm4MoeForCausalLM", "glm4_moe"}};

constexpr TensorRow tensors[] = {
    {"blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm"}};

constexpr ConfigRow config_rows[] = {
    {"expert_feed_forward_length", "moe_intermediate_size", FieldType::integer, true},
    {"expert_shared_count", "n_shared_experts", FieldType::integer, true},
    {"leading_dense_block_count", "first_k_dense_replace", FieldType::integer, true},
    {"expert_weights_scale", "routed_scaling_factor", FieldType::real, true},
    {"expert_weights_norm", "norm_topk_prob", FieldType::flag, true},
    {"expert_group_count", "n_group", FieldType::integer, true},
    {"expert_group_used_count", "topk_group", FieldType::integer, true}};

void sigmoid(Config&, Keys& out) {
  out.set("expert_gating_func", 2u);
}

}  // namespace

extern constexpr Architecture glm4moe = {.name = "glm4moe",
                                         .norms = {.before_ffn = "post_attention_norm"},
                                         .attention = {.norms = {.presence = Presence::optional}},
                                         .rope = {.sections = Rotation::Sections::where_set},
                                         .experts = {.where = Experts::Where::after_dense,
                                                     .scores = Experts::Scores::key,
                                                     .default_scores = 2,
                                                     .choice_bias = Presence::required,
                                                     .renormalise = Experts::Renormalise::key,
                                                     .scale = true,
                                                     .width = Experts::Width::own_or_share,
                                                     .shared = Experts::Shared::counted},
                                         .drafts = true,
                                         .conversion = {.classes = classes,
                                                        .tensors = tensors,
                                                        .config = config_rows,
                                                        .unread_blocks = "num_nextn_predict_layers",
                                                        .turned_part = 0.5,
                                                        .more = sigmoid}};

}  // namespace assay::model
