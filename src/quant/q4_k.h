// Q4_K: 256 weights in 144 bytes, eight groups of 32. w = (d·sc_g)·q − (dmin·m_g), q in 0..15.
//   bytes 0..1 d (f16) | 2..3 dmin (f16) | 4..15 sc_g and m_g, six bits each | 16..143 codes
//   codes: 32 bytes serve groups 2c (low nibbles) and 2c+1 (high nibbles)
//   scales: for g < 4 the low six bits of bytes 4+g (sc) and 8+g (m); for g >= 4 the low (sc) and
//   high (m) nibble of byte 8+g, with the two top bits of bytes g (sc) and 4+g (m) above them
// Source: ggml's block_q4_K. d·sc and dmin·m are exact in f32 (11 + 6 bits).
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

struct Q4_K {
  K_TABLE uint32_t id = 12;
  K_TABLE uint32_t block_size = 256;
  K_TABLE uint32_t block_bytes = 144;
  K_TABLE uint32_t group_size = 32;
  K_TABLE uint32_t code_bits = 4;
  K_TABLE int32_t code_offset = 0;
  K_TABLE bool has_minimum = true;
  K_TABLE bool has_table = false;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 1.0f;

  K_TABLE float minimum_sign = -1.0f;  ///< what the file stores is subtracted

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) { return k_load_u16(block); }
  K_FN uint16_t minimum_bits(K_DEV const uint8_t* block) { return k_load_u16(block + 2); }
  K_FN int32_t scale_code(K_DEV const uint8_t* block, uint32_t group) {
    return group < 4 ? block[4 + group] & 63 : (block[8 + group] & 15) | ((block[group] >> 6) << 4);
  }
  K_FN int32_t minimum_code(K_DEV const uint8_t* block, uint32_t group) {
    return group < 4 ? block[8 + group] & 63
                     : (block[8 + group] >> 4) | ((block[4 + group] >> 6) << 4);
  }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t group) {
    return k_f16_to_f32(scale_bits(block, 0u)) * float(scale_code(block, group));
  }
  K_FN float minimum(K_DEV const uint8_t* block, uint32_t group) {
    return -(k_f16_to_f32(minimum_bits(block)) * float(minimum_code(block, group)));
  }
  K_FN uint32_t code(K_DEV const uint8_t* block, uint32_t i) {
    const uint32_t byte = block[16 + (i / 64) * 32 + i % 32];
    return (i % 64) < 32 ? byte & 15u : byte >> 4;
  }
};

}  // namespace quant
}  // namespace assay
