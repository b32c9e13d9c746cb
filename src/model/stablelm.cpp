// StableLM: LayerNorms, RoPE of a part of each head; some are parallel, some norm each head.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"StableLmForCausalLM", "stablelm"}};

constexpr TensorRow tensors[] = {
    {"blk.{}.attn_q_norm", "model.layers.{}.self_attn.q_layernorm.norms.{}"},
    {"blk.{}.attn_k_norm", "model.layers.{}.self_attn.k_layernorm.norms.{}"}};

constexpr ConfigRow config_rows[] = {
    {"attention.layer_norm_epsilon", "layer_norm_eps", FieldType::real, true},
    {"attention.layer_norm_rms_epsilon", ""},
    {"use_parallel_residual", "use_parallel_residual", FieldType::flag}};

}  // namespace

extern constexpr Architecture stablelm = {
    .name = "stablelm",
    .norms = {.formula = Norms::Formula::layer, .biases = Presence::optional},
    .head = {.weight = Presence::required},
    .attention = {.norms = {.presence = Presence::optional,
                            .over = HeadNorms::Over::each_head,
                            .formula = Norms::Formula::layer}},
    .parallel = Architecture::Parallel::without_ffn_norm,
    .conversion = {
        .classes = classes, .tensors = tensors, .config = config_rows, .turned_part = 0.25}};

}  // namespace assay::model
