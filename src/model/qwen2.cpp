// Qwen 1.5, 2 and 2.5: biases of q, k and v.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Qwen2ForCausalLM", "qwen2"}};

constexpr ConfigRow config_rows[] = {{"", "use_sliding_window", FieldType::flag}};

}  // namespace

extern constexpr Architecture qwen2 = {
    .name = "qwen2",
    .head = {.bias = Presence::optional},
    .windows = {.size = Presence::optional, .llama_cpp_ignores = true},
    .conversion = {.classes = classes, .config = config_rows, .more = set_upper_window}};

}  // namespace assay::model
