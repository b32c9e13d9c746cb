// IQ2_XXS: 256 weights in 66 bytes, eight groups of 32. w = d·(2·s_g + 1)/8·±value[m], m in 0..2.
//   bytes 0..1 d (f16) | 2..65: for each group four entries, each a byte, of a codebook of 256 and
//   for eight weights; then a word, s_g in its top four bits, below them four times seven bits of
//   signs
// Seven signs make eight: the last one makes their number even. A code is m, and 4 more where the
// sign is set. Source: ggml's block_iq2_xxs.
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

// 8 25 43 and the same with the sign, from 4 on; 3 and 7 are no codes.
K_TABLE uint64_t iq2_values = 0x00d5e7f8002b1908u;

struct IQ2_XXS {
  K_TABLE uint32_t id = 16;
  K_TABLE uint32_t block_size = 256;
  K_TABLE uint32_t block_bytes = 66;
  K_TABLE uint32_t group_size = 32;
  K_TABLE uint32_t code_bits = 3;
  K_TABLE int32_t code_offset = 0;
  K_TABLE bool has_minimum = false;
  K_TABLE bool has_table = true;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 0.125f;

  K_TABLE uint64_t values_low = iq2_values;
  K_TABLE uint64_t values_high = 0u;

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) { return k_load_u16(block); }
  K_FN int32_t scale_code(K_DEV const uint8_t* block, uint32_t group) {
    return 1 + 2 * (block[2 + 8 * group + 7] >> 4);
  }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t group) {
    return k_f16_to_f32(scale_bits(block, 0u)) * float(scale_code(block, group)) * scale_unit;
  }
  /// Looked up in a codebook: on the host (quant/codebooks.cpp).
  static uint32_t code(K_DEV const uint8_t* block, uint32_t i);
};

}  // namespace quant
}  // namespace assay
