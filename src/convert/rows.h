// The values of a tensor on their way from a safetensors file to a GGUF file, a row at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "convert/names.h"

namespace assay::convert {

/// Row `row` of the result is this row of the source, which has `rows` rows.
uint64_t source_row(model::Change change, uint64_t row, uint64_t rows, const Heads& heads);

/// The GGUF type that holds a safetensors type exactly: F32 (also for F64), F16, BF16. Errors: it
/// holds no numbers of a model.
Result<uint32_t> own_type(const trace::StoredTensor& tensor);

/// The tensor's bytes in the format with this GGUF id, whose blocks divide the rows. Errors: a value
/// that the format cannot hold; one that is NaN or infinite where it would have to be rounded.
Result<std::vector<uint8_t>> encode(const Target& target, uint32_t type, const Heads& heads);

}  // namespace assay::convert
