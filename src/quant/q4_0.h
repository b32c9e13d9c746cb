// Q4_0: 32 weights in 18 bytes. w = d·(q − 8), q in 0..15.
//   bytes 0..1 d (f16) | 2..17: byte j holds weight j (low nibble) and weight j+16 (high nibble)
// Source: ggml's block_q4_0.
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

struct Q4_0 {
  K_TABLE uint32_t id = 2;
  K_TABLE uint32_t block_size = 32;
  K_TABLE uint32_t block_bytes = 18;
  K_TABLE uint32_t group_size = 32;
  K_TABLE uint32_t code_bits = 4;
  K_TABLE int32_t code_offset = 8;
  K_TABLE bool has_minimum = false;
  K_TABLE bool has_table = false;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 1.0f;

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) { return k_load_u16(block); }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t) {
    return k_f16_to_f32(scale_bits(block, 0u));
  }
  K_FN uint32_t code(K_DEV const uint8_t* block, uint32_t i) {
    return i < 16 ? block[2 + i] & 15u : block[2 + i - 16] >> 4;
  }
};

}  // namespace quant
}  // namespace assay
