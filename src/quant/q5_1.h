// Q5_1: 32 weights in 24 bytes. w = d·q + m, q in 0..31.
//   bytes 0..1 d (f16) | 2..3 m (f16) | 4..7 fifth bits: bit i%8 of byte i/8 belongs to weight i
//   8..23: byte j holds the low four bits of weight j (low nibble) and weight j+16 (high nibble)
// Source: ggml's block_q5_1.
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

struct Q5_1 {
  K_TABLE uint32_t id = 7;
  K_TABLE uint32_t block_size = 32;
  K_TABLE uint32_t block_bytes = 24;
  K_TABLE uint32_t group_size = 32;
  K_TABLE uint32_t code_bits = 5;
  K_TABLE int32_t code_offset = 0;
  K_TABLE bool has_minimum = true;
  K_TABLE bool has_table = false;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 1.0f;

  K_TABLE float minimum_sign = 1.0f;  ///< what the file stores is added

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) { return k_load_u16(block); }
  K_FN uint16_t minimum_bits(K_DEV const uint8_t* block) { return k_load_u16(block + 2); }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t) {
    return k_f16_to_f32(scale_bits(block, 0u));
  }
  K_FN float minimum(K_DEV const uint8_t* block, uint32_t) {
    return k_f16_to_f32(minimum_bits(block));
  }
  K_FN uint32_t code(K_DEV const uint8_t* block, uint32_t i) {
    const uint32_t low = i < 16 ? block[8 + i] & 15u : block[8 + i - 16] >> 4;
    const uint32_t high = (block[4 + i / 8] >> (i % 8)) & 1u;
    return low | (high << 4);
  }
};

}  // namespace quant
}  // namespace assay
