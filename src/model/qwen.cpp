// The first Qwen: a fused matrix with a bias; files give twice the width of the feed-forward part.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture qwen = {.name = "qwen",
                                      .head = {.weight = Presence::required},
                                      .attention = {.qkv_biases = Presence::required},
                                      .ffn = {.width = FeedForward::Width::half}};

}  // namespace assay::model
