// ERNIE 4.5 with experts: a bias that only chooses.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Ernie4_5_MoeForCausalLM", "ernie4_5_moe", 500000}};

constexpr TensorRow tensors[] = {
    {"blk.{}.exp_probs_b.bias", "model.layers.{}.mlp.moe_statics.e_score_correction_bias"}};

constexpr ConfigRow config_rows[] = {
    {"expert_feed_forward_length", "moe_intermediate_size", FieldType::integer, true},
    {"expert_shared_count", "moe_num_shared_experts", FieldType::integer, true},
    {"interleave_moe_layer_step", "moe_layer_interval", FieldType::integer, true},
    {"leading_dense_block_count", "moe_layer_start_index", FieldType::integer, true},
    {"", "use_bias", FieldType::flag, false, "false"}};

void more(Config& config, Keys& out) {
  const uint32_t shared = config.need_integer("moe_num_shared_experts");
  out.set("expert_shared_feed_forward_length",
          shared * config.need_integer("moe_intermediate_size"));
  const double blocks = config.need_integer("num_hidden_layers");
  const double end = config.real("moe_layer_end_index").value_or(-1);
  if (end != -1 && end < blocks - 1)
    config.fail("'moe_layer_end_index' is not the last block; assay's 'ernie4_5-moe' has -1 only");
}

}  // namespace

extern constexpr Architecture ernie4_5_moe = {
    .name = "ernie4_5-moe",
    .attention = {.out_bias = Presence::unused},
    .rope = {.pairs = Rotation::Pairs::adjacent},
    .experts = {.where = Experts::Where::in_steps,
                .choice_bias = Presence::optional,
                .renormalise = Experts::Renormalise::always,
                .shared = Experts::Shared::own},
    .conversion = {.classes = classes, .tensors = tensors, .config = config_rows, .more = more}};

}  // namespace assay::model
