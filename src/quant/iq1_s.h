// IQ1_S: 256 weights in 50 bytes, eight groups of 32. w = d·(2·s_g + 1)·(g ± 1/8), g in −1..1, the
// sign one for a group.
//   bytes 0..1 d (f16) | 2..33 low eight bits of the 32 entries, each of a codebook of 2048 and for
//   eight weights | 34..49: for each group a word of 16 bits, four times the three high bits of an
//   entry, s_g (three bits), and the sign of 1/8
// As whole numbers: (d·(2·s_g + 1)/8)·(8·g ± 1). A code is g + 1, and 4 more where 1/8 is taken
// off. Source: ggml's block_iq1_s.
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

// 8·g + 1 for g = −1, 0, 1: −7 1 9; from 4 on 8·g − 1: −9 −1 7; 3 and 7 are no codes.
K_TABLE uint64_t iq1_values = 0x0007fff7000901f9u;

struct IQ1_S {
  K_TABLE uint32_t id = 19;
  K_TABLE uint32_t block_size = 256;
  K_TABLE uint32_t block_bytes = 50;
  K_TABLE uint32_t group_size = 32;
  K_TABLE uint32_t code_bits = 3;
  K_TABLE int32_t code_offset = 0;
  K_TABLE bool has_minimum = false;
  K_TABLE bool has_table = true;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 0.125f;

  K_TABLE uint64_t values_low = iq1_values;
  K_TABLE uint64_t values_high = 0u;

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) { return k_load_u16(block); }
  K_FN int32_t scale_code(K_DEV const uint8_t* block, uint32_t group) {
    return 1 + 2 * ((block[34 + 2 * group + 1] >> 4) & 7);
  }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t group) {
    return k_f16_to_f32(scale_bits(block, 0u)) * float(scale_code(block, group)) * scale_unit;
  }
  /// Looked up in a codebook: on the host (quant/codebooks.cpp).
  static uint32_t code(K_DEV const uint8_t* block, uint32_t i);
};

}  // namespace quant
}  // namespace assay
