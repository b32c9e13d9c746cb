// Phi 3, 3.5 and 4: fused matrices, RoPE of a part of each head, long and short factors.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Phi3ForCausalLM", "phi3"}};

/// llama.cpp wants both keys, whatever they say.
void lengths(Config& config, Keys& keys) {
  keys.set("attention.sliding_window", config.integer("sliding_window").value_or(0));
  keys.set("rope.scaling.original_context_length",
           config.need_integer("rope_parameters.original_max_position_embeddings|"
                               "rope_scaling.original_max_position_embeddings|"
                               "original_max_position_embeddings|max_position_embeddings"));
}

}  // namespace

extern constexpr Architecture phi3 = {
    .name = "phi3",
    .windows = {.size = Presence::optional, .llama_cpp_ignores = true},
    .rope = {.factors = RopeFactors::long_short},
    .ffn = {.shape = FeedForward::Shape::fused},
    .conversion = {.classes = classes, .turned_part = 1, .more = lengths}};

}  // namespace assay::model
