// Seed-OSS: biases of q, k and v.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"SeedOssForCausalLM", "seed_oss"}};

constexpr TensorRow tensors[] = {
    {"blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm"}};

}  // namespace

extern constexpr Architecture seed_oss = {.name = "seed_oss",
                                          .norms = {.before_ffn = "post_attention_norm"},
                                          .attention = {.out_bias = Presence::optional},
                                          .ffn = {.biases = Presence::optional},
                                          .conversion = {.classes = classes, .tensors = tensors}};

}  // namespace assay::model
