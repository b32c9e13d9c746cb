// Qwen 3: an RMS norm of each head of q and k.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr std::string_view unused[] = {"cls.output.weight"};  // a classifier's; not the logits'
constexpr SourceClass classes[] = {{"Qwen3ForCausalLM", "qwen3"}};

constexpr ConfigRow config_rows[] = {{"", "use_sliding_window", FieldType::flag}};

}  // namespace

extern constexpr Architecture qwen3 = {
    .name = "qwen3",
    .attention = {.out_bias = Presence::optional, .norms = {.presence = Presence::required}},
    .windows = {.size = Presence::optional, .llama_cpp_ignores = true},
    .ffn = {.scales = FeedForward::Scales::all},
    .unused_tensors = unused,
    .conversion = {.classes = classes, .config = config_rows, .more = set_upper_window}};

}  // namespace assay::model
