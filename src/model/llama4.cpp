// Llama 4: chunked attention in three of four layers, queries that grow with the position in the
// others, a sigmoid router whose weights multiply what the experts read.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture llama4 = {
    .name = "llama4",
    .attention = {.norms = {.presence = Presence::required,
                            .weights = false,
                            .after_rope = true,
                            .turned_layers_only = true,
                            .none_with_experts = 128},
                  .temperature =
                      Temperature{
                          .slope = 0.1, .every = 8192, .offset = 1, .unturned_layers_only = true}},
    .windows = {.size = Presence::optional,
                .default_size = 8192,
                .chunked = true,
                .period = 4,
                .llama_cpp_size = 8192},
    .rope = {.pairs = Rotation::Pairs::adjacent,
             .layers = Rotation::Layers::all_but_each_fourth,
             .window_base = Rotation::Base::own},
    .experts = {.where = Experts::Where::in_steps,
                .scores = Experts::Scores::sigmoid,
                .weighs_input = true,
                .shared = Experts::Shared::own_or_expert}};

}  // namespace assay::model
