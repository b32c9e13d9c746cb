// GLM 4 of 2025: norms on both sides, a fused gate, RoPE of a part of each head.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Glm4ForCausalLM", "glm4"}};

constexpr TensorRow tensors[] = {
    {"blk.{}.post_attention_norm", "model.layers.{}.post_self_attn_layernorm"},
    {"blk.{}.post_ffw_norm", "model.layers.{}.post_mlp_layernorm"}};

}  // namespace

extern constexpr Architecture glm4 = {
    .name = "glm4",
    .norms = {.after_attention = "post_attention_norm", .after_ffn = "post_ffw_norm"},
    .rope = {.pairs = Rotation::Pairs::adjacent, .sections = Rotation::Sections::where_set},
    .ffn = {.shape = FeedForward::Shape::fused},
    .drafts = true,
    .conversion = {.classes = classes, .tensors = tensors, .turned_part = 0.5}};

}  // namespace assay::model
