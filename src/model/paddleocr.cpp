// The text part of PaddleOCR-VL: sections of positions.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture paddleocr = {.name = "paddleocr",
                                           .attention = {.out_bias = Presence::optional},
                                           .rope = {.sections = Rotation::Sections::required}};

}  // namespace assay::model
