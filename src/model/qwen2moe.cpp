// Qwen 1.5 and 2 with experts: not renormalised, a shared expert with a gate.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Qwen2MoeForCausalLM", "qwen2_moe"}};

constexpr ConfigRow config_rows[] = {
    {"expert_feed_forward_length", "moe_intermediate_size", FieldType::integer, true},
    {"expert_shared_feed_forward_length", "shared_expert_intermediate_size", FieldType::integer,
     true},
    {"expert_weights_norm", "norm_topk_prob", FieldType::flag},
    {"", "use_sliding_window", FieldType::flag}};

/// Without layer_types those are the even blocks below max_window_layers.
void window(Config& config, Keys& out) {
  if (!config.flag("use_sliding_window").value_or(false)) return;
  const uint32_t end = config.has("layer_types") ? 0 : config.need_integer("max_window_layers");
  set_window(config, out, [end](uint32_t block) { return block % 2 == 0 && block < end; });
}

}  // namespace

extern constexpr Architecture qwen2moe = {
    .name = "qwen2moe",
    .head = {.weight = Presence::required},
    .windows = {.size = Presence::optional, .llama_cpp_ignores = true},
    .experts = {.where = Experts::Where::routed,
                .renormalise = Experts::Renormalise::key,
                .llama_cpp_keeps_weights = true,
                .width = Experts::Width::own_or_share,
                .shared = Experts::Shared::own_or_ffn,
                .shared_gate = true},
    .conversion = {.classes = classes, .config = config_rows, .more = window}};

}  // namespace assay::model
