// Q4_1: 32 weights in 20 bytes. w = d·q + m, q in 0..15.
//   bytes 0..1 d (f16) | 2..3 m (f16) | 4..19: byte j holds weight j (low nibble) and weight j+16
//   (high nibble)
// Source: ggml's block_q4_1.
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

struct Q4_1 {
  K_TABLE uint32_t id = 3;           ///< GGUF tensor type
  K_TABLE uint32_t block_size = 32;  ///< weights a block
  K_TABLE uint32_t block_bytes = 20;
  K_TABLE uint32_t group_size = 32;  ///< weights that share one scale and minimum
  K_TABLE uint32_t code_bits = 4;    ///< stored codes are 0 .. 2^bits - 1
  K_TABLE int32_t code_offset = 0;   ///< w = scale·(code − offset) + minimum
  K_TABLE bool has_minimum = true;
  K_TABLE bool has_table = false;  ///< a code stands for a value of its own, not code − offset
  K_TABLE bool scale_is_bf16 = false;  ///< what scale_bits are; else f16
  K_TABLE float scale_unit = 1.0f;  ///< of super-blocks: scale = d·scale_code·unit, a power of two

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
    return i < 16 ? block[4 + i] & 15u : block[4 + i - 16] >> 4;
  }
};

}  // namespace quant
}  // namespace assay
