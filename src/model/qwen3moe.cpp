// Qwen 3 with experts: norms per head.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Qwen3MoeForCausalLM", "qwen3_moe"}};

constexpr ConfigRow config_rows[] = {
    {"expert_feed_forward_length", "moe_intermediate_size", FieldType::integer, true},
    {"", "norm_topk_prob", FieldType::flag, false, "true"},
    {"", "decoder_sparse_step", FieldType::integer, false, "1"},
    {"", "mlp_only_layers", FieldType::text, false, "[]"},
    {"", "use_sliding_window", FieldType::flag}};

void window(Config& config, Keys& out) {
  if (config.flag("use_sliding_window").value_or(false)) set_window(config, out, 0);
}

}  // namespace

extern constexpr Architecture qwen3moe = {
    .name = "qwen3moe",
    .attention = {.out_bias = Presence::optional, .norms = {.presence = Presence::required}},
    .windows = {.size = Presence::optional, .llama_cpp_ignores = true},
    .experts = {.where = Experts::Where::everywhere,
                .renormalise = Experts::Renormalise::always,
                .width = Experts::Width::own_or_share,
                .scales = true},
    .conversion = {.classes = classes, .config = config_rows, .more = window}};

}  // namespace assay::model
