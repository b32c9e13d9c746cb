// Q2_K: 256 weights in 84 bytes, sixteen groups of 16. w = (d·sc_g)·q − (dmin·m_g), q in 0..3.
//   bytes 0..15 sc_g (low nibble) and m_g (high nibble) | 16..79 codes | 80..81 d (f16) |
//   82..83 dmin (f16)
//   codes: 32 bytes serve each half of 128 weights: weight i (0..127) is bits 2·(i/32) of byte i%32
// Source: ggml's block_q2_K. d·sc and dmin·m are exact in f32 (11 + 4 bits).
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

struct Q2_K {
  K_TABLE uint32_t id = 10;
  K_TABLE uint32_t block_size = 256;
  K_TABLE uint32_t block_bytes = 84;
  K_TABLE uint32_t group_size = 16;
  K_TABLE uint32_t code_bits = 2;
  K_TABLE int32_t code_offset = 0;
  K_TABLE bool has_minimum = true;
  K_TABLE bool has_table = false;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 1.0f;

  K_TABLE float minimum_sign = -1.0f;  ///< what the file stores is subtracted

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) { return k_load_u16(block + 80); }
  K_FN uint16_t minimum_bits(K_DEV const uint8_t* block) { return k_load_u16(block + 82); }
  K_FN int32_t scale_code(K_DEV const uint8_t* block, uint32_t group) { return block[group] & 15; }
  K_FN int32_t minimum_code(K_DEV const uint8_t* block, uint32_t group) {
    return block[group] >> 4;
  }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t group) {
    return k_f16_to_f32(scale_bits(block, 0u)) * float(scale_code(block, group));
  }
  K_FN float minimum(K_DEV const uint8_t* block, uint32_t group) {
    return -(k_f16_to_f32(minimum_bits(block)) * float(minimum_code(block, group)));
  }
  K_FN uint32_t code(K_DEV const uint8_t* block, uint32_t i) {
    return (block[16 + (i / 128) * 32 + i % 32] >> (2 * ((i % 128) / 32))) & 3u;
  }
};

}  // namespace quant
}  // namespace assay
