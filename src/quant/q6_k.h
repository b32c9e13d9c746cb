// Q6_K: 256 weights in 210 bytes, sixteen groups of 16. w = (d·sc_g)·(q − 32), q in 0..63.
//   bytes 0..127 low four bits | 128..191 high two bits | 192..207 sc_g (int8) | 208..209 d (f16)
//   each half of 128 weights: weight i (0..127), quarter = i/32, lane = i%32:
//     low: byte lane + 32·(quarter odd), nibble low for quarters 0, 1 and high for 2, 3; high: byte
//     lane, bits 2·quarter
// Source: ggml's block_q6_K. d·sc is exact in f32 (11 + 8 bits).
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

struct Q6_K {
  K_TABLE uint32_t id = 14;
  K_TABLE uint32_t block_size = 256;
  K_TABLE uint32_t block_bytes = 210;
  K_TABLE uint32_t group_size = 16;
  K_TABLE uint32_t code_bits = 6;
  K_TABLE int32_t code_offset = 32;
  K_TABLE bool has_minimum = false;
  K_TABLE bool has_table = false;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 1.0f;

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) { return k_load_u16(block + 208); }
  K_FN int32_t scale_code(K_DEV const uint8_t* block, uint32_t group) {
    return int8_t(block[192 + group]);
  }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t group) {
    return k_f16_to_f32(scale_bits(block, 0u)) * float(scale_code(block, group));
  }
  K_FN uint32_t code(K_DEV const uint8_t* block, uint32_t i) {
    const uint32_t side = i / 128, quarter = (i % 128) / 32, lane = i % 32;
    const uint32_t low_byte = block[side * 64 + lane + 32 * (quarter & 1u)];
    const uint32_t low = quarter < 2 ? low_byte & 15u : low_byte >> 4;
    const uint32_t high = (block[128 + side * 32 + lane] >> (2 * quarter)) & 3u;
    return low | (high << 4);
  }
};

}  // namespace quant
}  // namespace assay
