// NaN and infinity among a file's weights: whatever reads them gives NaN, and no kernel is to
// blame.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "gguf/file.h"

namespace assay::gguf {

struct NotFinite {
  std::string tensor;
  uint64_t row = 0, column = 0;  ///< of the tensor's rows, one after another
  float value = 0;
};

/// The first weight, in file order, that is NaN or infinite. Types that assay can't decode are left
/// out. Reads every weight once, and of a block format only the scales, but for those near an end
/// of f32.
std::optional<NotFinite> find_not_finite(const File& file);

/// "tensor 'blk.0.ffn_down.weight' holds NaN in row 5, column 3"
std::string text_of(const NotFinite& found);

/// Error UNMEASURED, with the tensor and the place, where a weight is NaN or infinite: then nothing
/// can be said of the operations that read it.
Status check_weights(const File& file);

}  // namespace assay::gguf
