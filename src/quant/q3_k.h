// Q3_K: 256 weights in 110 bytes, sixteen groups of 16. w = (d·(sc_g − 32))·(q − 4), q in 0..7.
//   bytes 0..31 third bits: bit i/32 of byte i%32 | 32..95 low two bits: 32 bytes serve each half
//   of 128 weights, weight i (0..127) is bits 2·(i/32) of byte i%32 | 96..107 sc_g, six bits each |
//   108..109 d (f16)
//   scales: low four bits in byte g%8 (low nibble for g < 8, else high), high two bits in byte
//   8 + g%4 at 2·(g/4)
// Source: ggml's block_q3_K. d·(sc − 32) is exact in f32 (11 + 6 bits).
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

struct Q3_K {
  K_TABLE uint32_t id = 11;
  K_TABLE uint32_t block_size = 256;
  K_TABLE uint32_t block_bytes = 110;
  K_TABLE uint32_t group_size = 16;
  K_TABLE uint32_t code_bits = 3;
  K_TABLE int32_t code_offset = 4;
  K_TABLE bool has_minimum = false;
  K_TABLE bool has_table = false;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 1.0f;

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) { return k_load_u16(block + 108); }
  K_FN int32_t scale_code(K_DEV const uint8_t* block, uint32_t group) {
    const int32_t low = (block[96 + group % 8] >> (4 * (group / 8))) & 15;
    const int32_t high = (block[104 + group % 4] >> (2 * (group / 4))) & 3;
    return (low | (high << 4)) - 32;
  }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t group) {
    return k_f16_to_f32(scale_bits(block, 0u)) * float(scale_code(block, group));
  }
  K_FN uint32_t code(K_DEV const uint8_t* block, uint32_t i) {
    const uint32_t low = (block[32 + (i / 128) * 32 + i % 32] >> (2 * ((i % 128) / 32))) & 3u;
    const uint32_t high = (block[i % 32] >> (i / 32)) & 1u;
    return low | (high << 2);
  }
};

}  // namespace quant
}  // namespace assay
