// ChatGLM 3 and GLM 4 of 2024: a fused gate, RoPE of a part of each head.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture chatglm = {.name = "chatglm",
                                         .rope = {.pairs = Rotation::Pairs::adjacent},
                                         .ffn = {.shape = FeedForward::Shape::fused}};

}  // namespace assay::model
