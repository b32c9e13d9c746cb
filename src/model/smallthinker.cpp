// SmallThinker: the router reads the block's input; windows and RoPE in three of four layers.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture smallthinker = {
    .name = "smallthinker",
    .windows = {.size = Presence::optional,
                .period = 4,
                .whole_first = true,
                .llama_cpp_size = 4096},
    .rope = {.layers = Rotation::Layers::all_but_first_of_four, .window_base = Rotation::Base::own},
    .experts = {.where = Experts::Where::everywhere,
                .scores = Experts::Scores::key,
                .renormalise = Experts::Renormalise::always,
                .activation = op::Activation::relu,
                .reads_block_input = true}};

}  // namespace assay::model
