// MXFP4: 32 weights in 17 bytes. w = 2^(e−128)·value[q], q in 0..15.
//   byte 0 e: E8M0, the exponent of 2^(e−127) | 1..16: byte j holds weight j (low nibble) and
//   weight j+16 (high nibble)
// The values are twice those of E2M1, so that they are whole; the scale is half, so that they are
// right. A block whose 2^(e−127) is below 2^-100 counts as zeros (docs/numbers.md, "No denormals").
// e = 255, a NaN to the standard, is 2^128 here as in ggml: then most weights are infinite.
// Source: OCP's Microscaling Formats 1.0; ggml's block_mxfp4.
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

// Twice the numbers of E2M1 (a sign, two bits of exponent, one of mantissa), a byte each, the first
// lowest: 0 1 2 3 4 6 8 12, then the same with the sign; the eighth is 0 again.
K_TABLE uint64_t e2m1_low = 0x0c08060403020100u;
K_TABLE uint64_t e2m1_high = 0xf4f8fafcfdfeff00u;

struct MXFP4 {
  K_TABLE uint32_t id = 39;
  K_TABLE uint32_t block_size = 32;
  K_TABLE uint32_t block_bytes = 17;
  K_TABLE uint32_t group_size = 32;
  K_TABLE uint32_t code_bits = 4;
  K_TABLE int32_t code_offset = 0;
  K_TABLE bool has_minimum = false;
  K_TABLE bool has_table = true;
  K_TABLE bool scale_is_bf16 = true;
  K_TABLE float scale_unit = 1.0f;

  K_TABLE uint64_t values_low = e2m1_low;
  K_TABLE uint64_t values_high = e2m1_high;

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) {
    const uint32_t e = block[0];
    return uint16_t(e < 27u ? 0u : (e - 1u) << 7);
  }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t) {
    return k_bf16_to_f32(scale_bits(block, 0u));
  }
  K_FN uint32_t code(K_DEV const uint8_t* block, uint32_t i) {
    return i < 16 ? block[1 + i] & 15u : block[1 + i - 16] >> 4;
  }
};

}  // namespace quant
}  // namespace assay
