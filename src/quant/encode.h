// Writes weights in a format: the reverse of decoding, rounded to what the format can hold.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace assay::quant {

/// True where encode_row knows the format with this GGUF id.
bool can_encode(uint32_t id);

/// Encodes finite weights as a row of whole blocks; `out` holds exactly its bytes. False where a
/// weight or a block's scale is beyond what the format can hold (an f16 ends at 65504).
/// F32, F16 and BF16 round to nearest even; the others give the bits of ggml's quantize.
bool encode_row(uint32_t id, std::span<const float> row, std::span<uint8_t> out);

/// "F32, F16, …": for error messages.
std::string encodable_names();

}  // namespace assay::quant
