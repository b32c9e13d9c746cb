// Qwen 3: an RMS norm of each head of q and k.
#include "model/architecture.h"

namespace assay::model {

namespace {

constexpr std::string_view unused[] = {"cls.output.weight"};  // a classifier's; not the logits'

}  // namespace

extern constexpr Architecture qwen3 = {
    .name = "qwen3", .head_norms = true, .unused_tensors = unused};

}  // namespace assay::model
