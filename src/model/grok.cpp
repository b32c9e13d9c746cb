// Grok 1 and 2: scores capped, norms on both sides, experts beside a feed-forward part.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture grok = {
    .name = "grok",
    .norms = {.after_attention = "attn_output_norm",
              .after_ffn = "post_ffw_norm",
              .or_after_ffn = "layer_output_norm"},
    .embedding = {.scale = Embedding::Scale::key, .default_scale = 78.38367176906169},
    .head = {.scale = Head::Scale::multiplies, .default_scale = 0.5773502691896257, .soft_cap = 0},
    .attention = {.scale = Attention::Scale::key,
                  .scale_key = "attention.output_scale",
                  .default_scale = 0.08838834764831845,
                  .soft_cap = 30},
    .rope = {.llama_cpp_reads_bounds = true, .beta_fast = 8},
    .ffn = {.activation = op::Activation::gelu_tanh},
    .experts = {.where = Experts::Where::everywhere,
                .renormalise = Experts::Renormalise::always,
                .width = Experts::Width::own_or_ffn,
                .activation = op::Activation::gelu_tanh,
                .dense = Experts::Dense::where_there,
                .sum_scale = 0.70710678f}};

}  // namespace assay::model
