// The text part of Qwen 3 VL: as qwen3, with interleaved sections of positions.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr std::string_view unused[] = {"cls.output.weight"};  // a classifier's; not the logits'

}  // namespace

extern constexpr Architecture qwen3vl = {.name = "qwen3vl",
                                         .attention = {.norms = {.presence = Presence::required}},
                                         .rope = {.sections = Rotation::Sections::interleaved},
                                         .unused_tensors = unused};

}  // namespace assay::model
