// Command R7B, Command A, Aya: parallel blocks, RoPE in windowed layers alone.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Cohere2ForCausalLM", "cohere2"}};

constexpr ConfigRow config_rows[] = {
    {"attention.layer_norm_epsilon", "layer_norm_eps", FieldType::real, true},
    {"attention.layer_norm_rms_epsilon", ""},
    {"logit_scale", "logit_scale", FieldType::real, true},
    {"attention.sliding_window", "sliding_window", FieldType::integer, true}};

/// RoPE turns in blocks with a window, also where none has one.
void window(Config& config, Keys& out) {
  set_window(config, out, config.integer("sliding_window_pattern").value_or(4));
  if (const KeyValue* windowed = out.find("attention.sliding_window_pattern"))
    out.set("attention.rope_pattern", KeyValue(*windowed));
}

}  // namespace

extern constexpr Architecture cohere2 = {
    .name = "cohere2",
    .norms = {.formula = Norms::Formula::layer, .before_ffn = {}},
    .head = {.scale = Head::Scale::multiplies},
    .attention = {.out_bias = Presence::optional},
    .windows = {.size = Presence::required, .period = 4},
    .rope = {.pairs = Rotation::Pairs::adjacent,
             .layers = Rotation::Layers::windowed,
             .listed = true,
             .window_base = Rotation::Base::own},
    .ffn = {.scales = FeedForward::Scales::all},
    .parallel = Architecture::Parallel::always,
    .conversion = {.classes = classes, .config = config_rows, .more = window}};

}  // namespace assay::model
