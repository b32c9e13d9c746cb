// SmolLM3: no RoPE in every fourth layer.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"SmolLM3ForCausalLM", "smollm3", 2000000}};

constexpr ConfigRow config_rows[] = {{"", "use_sliding_window", FieldType::flag}};

/// Layers without RoPE are listed, or each no_rope_layer_interval-th; those alone may have a window.
void more(Config& config, Keys& out) {
  const std::vector<double> listed = config.reals("no_rope_layers");
  const uint32_t interval = config.integer("no_rope_layer_interval").value_or(4);
  const uint32_t blocks = config.need_integer("num_hidden_layers");
  std::vector<int32_t> turns;
  for (uint32_t i = 0; i < blocks; ++i) turns.push_back(interval == 0 || (i + 1) % interval != 0);
  if (!listed.empty()) turns.assign(listed.begin(), listed.end());
  if (turns.size() != blocks) config.fail("'no_rope_layers' has not one number for each block");
  out.set("attention.rope_pattern", turns);
  if (config.failed() || !config.flag("use_sliding_window").value_or(false)) return;
  set_window(config, out, [&](uint32_t block) { return turns[block] == 0; });
}

}  // namespace

extern constexpr Architecture smollm3 = {
    .name = "smollm3",
    .attention = {.out_bias = Presence::optional},
    .windows = {.size = Presence::optional, .llama_cpp_ignores = true},
    .rope = {.pairs = Rotation::Pairs::adjacent,
             .layers = Rotation::Layers::all_but_each_fourth,
             .listed = true},
    .ffn = {.biases = Presence::optional},
    .conversion = {
        .classes = classes, .tensors = paired_tensors, .config = config_rows, .more = more}};

}  // namespace assay::model
