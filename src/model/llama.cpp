// Llama 1 to 3.x, Mistral, Mixtral, TinyLlama, SmolLM2. GGUF files of this architecture hold the rows
// of Q and K for adjacent pairs.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"LlamaForCausalLM", "llama"},
                                   {"MistralForCausalLM", "mistral"},
                                   {"MixtralForCausalLM", "mixtral", 1000000}};

constexpr TensorRow tensors[] = {
    {"blk.{}.attn_q", "model.layers.{}.self_attn.q_proj", pair_rows},
    {"blk.{}.attn_k", "model.layers.{}.self_attn.k_proj", pair_rows},
    {"blk.{}.ffn_gate_inp", "model.layers.{}.block_sparse_moe.gate"},
    {"blk.{}.ffn_gate_exps", "model.layers.{}.block_sparse_moe.experts.{}.w1"},
    {"blk.{}.ffn_down_exps", "model.layers.{}.block_sparse_moe.experts.{}.w2"},
    {"blk.{}.ffn_up_exps", "model.layers.{}.block_sparse_moe.experts.{}.w3"}};

/// The classes of Mistral have a window; Llama's does not look for one.
void window(Config& config, Keys& out) {
  if (config.type != "llama") set_window(config, out, 0);
}

}  // namespace

extern constexpr Architecture llama = {
    .name = "llama",
    .attention = {.out_bias = Presence::optional},
    .windows = {.size = Presence::optional, .llama_cpp_ignores = true},
    .rope = {.pairs = Rotation::Pairs::adjacent},
    .ffn = {.biases = Presence::optional, .scales = FeedForward::Scales::all},
    .experts = {.where = Experts::Where::counted,
                .renormalise = Experts::Renormalise::always,
                .width = Experts::Width::ffn,
                .scales = true},
    .conversion = {.classes = classes, .tensors = tensors, .more = window}};

}  // namespace assay::model
