// IQ1_M: 256 weights in 56 bytes, sixteen groups of 16. w = d·(2·s_g + 1)·(g ± 1/8), g in −1..1,
// the sign one for eight weights.
//   bytes 0..31 low eight bits of the 32 entries, each of IQ1_S's codebook and for eight weights |
//   32..47: for each entry a nibble, its three high bits and the sign of 1/8 | 48..55 four words of
//   16 bits, each with four s_g of three bits, and above them a nibble of d (f16), the lowest first
// As whole numbers: (d·(2·s_g + 1)/8)·(8·g ± 1), codes as in IQ1_S. Source: ggml's block_iq1_m.
#pragma once

#include "lang/lang.h"
#include "quant/iq1_s.h"

namespace assay {
namespace quant {

struct IQ1_M {
  K_TABLE uint32_t id = 29;
  K_TABLE uint32_t block_size = 256;
  K_TABLE uint32_t block_bytes = 56;
  K_TABLE uint32_t group_size = 16;
  K_TABLE uint32_t code_bits = 3;
  K_TABLE int32_t code_offset = 0;
  K_TABLE bool has_minimum = false;
  K_TABLE bool has_table = true;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 0.125f;

  K_TABLE uint64_t values_low = iq1_values;
  K_TABLE uint64_t values_high = 0u;

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) {
    return uint16_t((block[49] >> 4) | (block[51] & 0xf0) | ((block[53] & 0xf0) << 4) |
                    ((block[55] & 0xf0) << 8));
  }
  K_FN int32_t scale_code(K_DEV const uint8_t* block, uint32_t group) {
    return 1 + 2 * ((k_load_u16(block + 48 + group / 4 * 2) >> (3 * (group % 4))) & 7);
  }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t group) {
    return k_f16_to_f32(scale_bits(block, 0u)) * float(scale_code(block, group)) * scale_unit;
  }
  /// Looked up in a codebook: on the host (quant/codebooks.cpp).
  static uint32_t code(K_DEV const uint8_t* block, uint32_t i);
};

}  // namespace quant
}  // namespace assay
