// ERNIE 4.5 without experts.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr SourceClass classes[] = {{"Ernie4_5ForCausalLM", "ernie4_5", 500000}};

constexpr ConfigRow config_rows[] = {{"", "use_bias", FieldType::flag, false, "false"}};

}  // namespace

extern constexpr Architecture ernie4_5 = {
    .name = "ernie4_5",
    .attention = {.out_bias = Presence::unused},
    .rope = {.pairs = Rotation::Pairs::adjacent},
    .conversion = {.classes = classes, .config = config_rows}};

}  // namespace assay::model
