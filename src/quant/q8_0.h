// Q8_0: 32 weights in 34 bytes. w = d·q, q in -128..127.
//   bytes 0..1 d (f16) | 2..33 q (int8)
// Source: ggml's block_q8_0.
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

struct Q8_0 {
  K_TABLE uint32_t id = 8;
  K_TABLE uint32_t block_size = 32;
  K_TABLE uint32_t block_bytes = 34;
  K_TABLE uint32_t group_size = 32;
  K_TABLE uint32_t code_bits = 8;
  K_TABLE int32_t code_offset = 128;
  K_TABLE bool has_minimum = false;
  K_TABLE bool has_table = false;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 1.0f;

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) { return k_load_u16(block); }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t) {
    return k_f16_to_f32(scale_bits(block, 0u));
  }
  K_FN uint32_t code(K_DEV const uint8_t* block, uint32_t i) { return block[2 + i] ^ 0x80u; }
};

}  // namespace quant
}  // namespace assay
