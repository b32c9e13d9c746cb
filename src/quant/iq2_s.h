// IQ2_S: 256 weights in 82 bytes, sixteen groups of 16. w = d·(2·s_g + 1)/8·±value[m], m in 0..2,
// with IQ2_XXS's values.
//   bytes 0..1 d (f16) | 2..33 low eight bits of the 32 entries, each of a codebook of 1024 and for
//   eight weights | 34..65 signs, a bit a weight | 66..73 two high bits of each entry | 74..81 s_g,
//   two groups a byte
// A code is m, and 4 more where the sign is set. Source: ggml's block_iq2_s.
#pragma once

#include "lang/lang.h"
#include "quant/iq2_xxs.h"

namespace assay {
namespace quant {

struct IQ2_S {
  K_TABLE uint32_t id = 22;
  K_TABLE uint32_t block_size = 256;
  K_TABLE uint32_t block_bytes = 82;
  K_TABLE uint32_t group_size = 16;
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
    return 1 + 2 * ((block[74 + group / 2] >> (4 * (group % 2))) & 15);
  }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t group) {
    return k_f16_to_f32(scale_bits(block, 0u)) * float(scale_code(block, group)) * scale_unit;
  }
  /// Looked up in a codebook: on the host (quant/codebooks.cpp).
  static uint32_t code(K_DEV const uint8_t* block, uint32_t i);
};

}  // namespace quant
}  // namespace assay
