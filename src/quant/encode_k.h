// Encoders of the formats with super-blocks of 256 weights; see encode.h.
#pragma once

#include <cstdint>

#include "quant/q4_k.h"
#include "quant/q5_k.h"
#include "quant/q6_k.h"

namespace assay::quant {

/// Writes one block; false where its scale is beyond f16.
bool encode(Q4_K, const float* x, uint8_t* out);
bool encode(Q5_K, const float* x, uint8_t* out);
bool encode(Q6_K, const float* x, uint8_t* out);

}  // namespace assay::quant
