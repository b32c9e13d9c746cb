// Which format each tensor is written in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "convert/names.h"

namespace assay::convert {

struct Types {
  std::vector<uint32_t> of_targets;  ///< GGUF ids
  uint32_t file_type = 0;            ///< general.file_type: what most bytes are
};

/// Vectors, norms, biases and routers are F32; matrices are of the type asked for, else of the
/// folder's own; a quantised file has its head in Q8_0 at least. Where blocks do not divide the
/// rows, F16 with a note. Errors: a tensor that holds no numbers of a model.
Result<Types> choose_types(const std::vector<Target>& targets, std::optional<uint32_t> asked,
                           std::vector<std::string>& notes);

}  // namespace assay::convert
