// Qwen 3 with experts: norms per head.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Qwen3MoeForCausalLM", "qwen3_moe"}};

constexpr ConfigRow config_rows[] = {
    {"expert_feed_forward_length", "moe_intermediate_size", FieldType::integer, true},
    {"", "use_sliding_window", FieldType::flag}};

void more(Config& config, Keys& out) {
  out.set("expert_weights_norm", config.flag("norm_topk_prob").value_or(false));
  if (config.flag("use_sliding_window").value_or(false)) set_window(config, out, 0);
}

}  // namespace

extern constexpr Architecture qwen3moe = {
    .name = "qwen3moe",
    .attention = {.out_bias = Presence::optional, .norms = {.presence = Presence::required}},
    .windows = {.size = Presence::optional, .llama_cpp_ignores = true},
    .experts = {.where = Experts::Where::routed,
                .renormalise = Experts::Renormalise::key_or_always,
                .width = Experts::Width::own_or_share,
                .scales = true},
    .conversion = {.classes = classes, .config = config_rows, .more = more}};

}  // namespace assay::model
