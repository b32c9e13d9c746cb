// MiniMax M2: norms over all heads, a router with a bias that only chooses.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"MiniMaxM2ForCausalLM", "minimax_m2", 5000000}};

constexpr TensorRow tensors[] = {
    {"blk.{}.ffn_gate_inp", "model.layers.{}.block_sparse_moe.gate"},
    {"blk.{}.ffn_gate_exps", "model.layers.{}.block_sparse_moe.experts.{}.w1"},
    {"blk.{}.ffn_down_exps", "model.layers.{}.block_sparse_moe.experts.{}.w2"},
    {"blk.{}.ffn_up_exps", "model.layers.{}.block_sparse_moe.experts.{}.w3"},
    {"blk.{}.exp_probs_b.bias", "model.layers.{}.block_sparse_moe.e_score_correction_bias"}};

constexpr ConfigRow config_rows[] = {
    {"expert_feed_forward_length", "intermediate_size", FieldType::integer, true}};

/// The released folders give what RoPE turns as rotary_dim.
void more(Config& config, Keys& out) {
  out.set("expert_gating_func", 2u);
  if (const auto dimensions = config.integer("rotary_dim"))
    if (!config.has("rope_parameters.partial_rotary_factor|partial_rotary_factor"))
      out.set("rope.dimension_count", *dimensions);
}

}  // namespace

extern constexpr Architecture minimax_m2 = {
    .name = "minimax-m2",
    .head = {.weight = Presence::required},
    .attention = {.norms = {.presence = Presence::required, .over = HeadNorms::Over::all_heads}},
    .experts = {.where = Experts::Where::everywhere,
                .scores = Experts::Scores::key,
                .choice_bias = Presence::required,
                .renormalise = Experts::Renormalise::always,
                .width = Experts::Width::ffn},
    .conversion = {.classes = classes,
                   .tensors = tensors,
                   .config = config_rows,
                   .turned_part = 1,
                   .more = more}};

}  // namespace assay::model
