// Hunyuan without experts: norms per head after RoPE.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"HunYuanDenseV1ForCausalLM", "hunyuan_v1_dense"}};

constexpr TensorRow tensors[] = {
    {"blk.{}.attn_q_norm", "model.layers.{}.self_attn.query_layernorm"},
    {"blk.{}.attn_k_norm", "model.layers.{}.self_attn.key_layernorm"}};

/// The class takes "dynamic" with an alpha for a base that has grown by it once.
void alpha(Config& config, Keys& out) {
  const auto type =
      config.text("rope_parameters.rope_type|rope_scaling.rope_type|rope_scaling.type");
  const auto alpha = config.real("rope_parameters.alpha|rope_scaling.alpha");
  if (type != "dynamic" || alpha.value_or(0) == 0) return;
  out.set("rope.scaling.alpha", float(*alpha));
  out.set("rope.scaling.type", "none");
}

}  // namespace

extern constexpr Architecture hunyuan_dense = {
    .name = "hunyuan-dense",
    .attention = {.out_bias = Presence::optional,
                  .norms = {.presence = Presence::required, .after_rope = true}},
    .rope = {.base_grows = true},
    .conversion = {.classes = classes, .tensors = tensors, .more = alpha}};

}  // namespace assay::model
