// Granite with experts.
#include "model/granite.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"GraniteMoeForCausalLM", "granitemoe"}};

constexpr TensorRow tensors[] = {
    {"blk.{}.attn_q", "model.layers.{}.self_attn.q_proj", pair_rows},
    {"blk.{}.attn_k", "model.layers.{}.self_attn.k_proj", pair_rows},
    {"blk.{}.ffn_gate_inp", "model.layers.{}.block_sparse_moe.router.layer"},
    {"blk.{}.ffn_gate_exps.weight", "model.layers.{}.block_sparse_moe.input_linear.weight",
     first_half},
    {"blk.{}.ffn_up_exps.weight", "model.layers.{}.block_sparse_moe.input_linear.weight",
     second_half},
    {"blk.{}.ffn_down_exps.weight", "model.layers.{}.block_sparse_moe.output_linear.weight"}};

}  // namespace

extern constexpr Architecture granitemoe = {
    .name = "granitemoe",
    .embedding = {.scale = Embedding::Scale::key},
    .head = {.scale = Head::Scale::divides},
    .attention = {.out_bias = Presence::optional, .scale = Attention::Scale::key},
    .rope = {.pairs = Rotation::Pairs::adjacent},
    .ffn = {.biases = Presence::optional},
    .experts = {.where = Experts::Where::counted,
                .renormalise = Experts::Renormalise::always,
                .width = Experts::Width::ffn,
                .shared = Experts::Shared::own},
    .residual_scale = true,
    .keys = granite_keys,
    .conversion = {.classes = classes, .tensors = tensors, .config = granite_config}};

}  // namespace assay::model
