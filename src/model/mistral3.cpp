// Ministral 3, Devstral 2: YaRN with a log multiplier, queries that grow with the position.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Ministral3ForCausalLM", "ministral3"}};

constexpr ConfigRow config_rows[] = {
    {"attention.temperature_scale",
     "rope_parameters.llama_4_scaling_beta|rope_scaling.llama_4_scaling_beta", FieldType::real,
     true}};

void more(Config& config, Keys& out) {
  set_window(config, out, 0);
  // What the temperature counts in, whatever the kind of scaling.
  out.set("rope.scaling.original_context_length",
          config.need_integer("rope_parameters.original_max_position_embeddings|"
                              "rope_scaling.original_max_position_embeddings"));
}

}  // namespace

extern constexpr Architecture mistral3 = {
    .name = "mistral3",
    .attention = {.out_bias = Presence::optional, .temperature = Temperature{}},
    .windows = {.size = Presence::optional, .llama_cpp_ignores = true},
    .rope = {.pairs = Rotation::Pairs::adjacent,
             .llama_cpp_reads_bounds = true,
             .yarn_log_multiplier = true},
    .ffn = {.biases = Presence::optional, .scales = FeedForward::Scales::all},
    .experts = {.where = Experts::Where::counted,
                .renormalise = Experts::Renormalise::always,
                .width = Experts::Width::ffn,
                .scales = true},
    .conversion = {
        .classes = classes, .tensors = paired_tensors, .config = config_rows, .more = more}};

}  // namespace assay::model
