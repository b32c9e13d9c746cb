// NVFP4: 64 weights in 36 bytes, four groups of 16. w = d_g·value[q], q in 0..15.
//   bytes 0..3 twice d_g: UE4M3 (four bits of exponent, three of mantissa) | 4..35: byte 4 + 8·g +
//   j holds weights j (low nibble) and j + 8 (high nibble) of group g
// The values are twice those of E2M1, the scale is half, as in MXFP4. 7f, a NaN to the standard, is
// 0, and the top bit counts for nothing but there (ff is 240), as in ggml. What a tensor has as one
// more factor stands beside it (NAME.scale). Source: ggml's block_nvfp4.
#pragma once

#include "lang/lang.h"
#include "quant/mxfp4.h"

namespace assay {
namespace quant {

struct NVFP4 {
  K_TABLE uint32_t id = 40;
  K_TABLE uint32_t block_size = 64;
  K_TABLE uint32_t block_bytes = 36;
  K_TABLE uint32_t group_size = 16;
  K_TABLE uint32_t code_bits = 4;
  K_TABLE int32_t code_offset = 0;
  K_TABLE bool has_minimum = false;
  K_TABLE bool has_table = true;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 1.0f;

  K_TABLE uint64_t values_low = e2m1_low;
  K_TABLE uint64_t values_high = e2m1_high;

  K_FN float scale(K_DEV const uint8_t* block, uint32_t group) {
    const uint32_t exponent = (block[group] >> 3) & 15u, mantissa = block[group] & 7u;
    if (block[group] == 0x7fu) return 0.0f;
    // Normal: (1 + mantissa/8)·2^(exponent − 8); below: mantissa·2^-10.
    if (exponent != 0u) return k_float(((exponent + 119u) << 23) | (mantissa << 20));
    return float(mantissa) * 0.0009765625f;
  }
  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t group) {
    return k_f32_to_f16(scale(block, group));
  }
  K_FN uint32_t code(K_DEV const uint8_t* block, uint32_t i) {
    const uint32_t byte = block[4 + i / 16 * 8 + i % 8];
    return i % 16 < 8 ? byte & 15u : byte >> 4;
  }
};

}  // namespace quant
}  // namespace assay
