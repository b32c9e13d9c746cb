// IQ3_XXS: 256 weights in 98 bytes, eight groups of 32. w = d·(2·s_g + 1)/2·±value[m], m in 0..7.
//   bytes 0..1 d (f16) | 2..65 entries, each of a codebook of 256 and for four weights | 66..97:
//   for each group a word, s_g in its top four bits, below them four times seven bits of signs
// Seven signs make eight: the last one makes their number even. The values are half of ggml's 4 12
// 20 28 36 44 52 62, the unit is twice its 1/4. A code is m, and 8 more where the sign is set.
// Source: ggml's block_iq3_xxs.
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

struct IQ3_XXS {
  K_TABLE uint32_t id = 18;
  K_TABLE uint32_t block_size = 256;
  K_TABLE uint32_t block_bytes = 98;
  K_TABLE uint32_t group_size = 32;
  K_TABLE uint32_t code_bits = 4;
  K_TABLE int32_t code_offset = 0;
  K_TABLE bool has_minimum = false;
  K_TABLE bool has_table = true;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 0.5f;

  K_TABLE uint64_t values_low = 0x1f1a16120e0a0602u;
  K_TABLE uint64_t values_high = 0xe1e6eaeef2f6fafeu;

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) { return k_load_u16(block); }
  K_FN int32_t scale_code(K_DEV const uint8_t* block, uint32_t group) {
    return 1 + 2 * (block[66 + 4 * group + 3] >> 4);
  }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t group) {
    return k_f16_to_f32(scale_bits(block, 0u)) * float(scale_code(block, group)) * scale_unit;
  }
  /// Looked up in a codebook: on the host (quant/codebooks.cpp).
  static uint32_t code(K_DEV const uint8_t* block, uint32_t i);
};

}  // namespace quant
}  // namespace assay
