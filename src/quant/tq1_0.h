// TQ1_0: 256 weights in 54 bytes. w = d·(q − 1), q in 0..2: digits of base 3, five a byte, four in
// the last ones. A byte is ⌈x·256/243⌉ for the number x = 0.q₀q₁q₂q₃q₄ in base 3 times 243, so that
// its digits come out at the top: multiply by 3, take what passes 256.
//   bytes 0..31: digit n of byte m is weight 32·n + m | 32..47: weight 160 + 16·n + m | 48..51:
//   four digits, weight 240 + 4·n + m | 52..53 d (f16)
// One scale for the block, which is cut in groups of 32 with a scale code of 1. Source: ggml's
// block_tq1_0.
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

struct TQ1_0 {
  K_TABLE uint32_t id = 34;
  K_TABLE uint32_t block_size = 256;
  K_TABLE uint32_t block_bytes = 54;
  K_TABLE uint32_t group_size = 32;
  K_TABLE uint32_t code_bits = 2;
  K_TABLE int32_t code_offset = 1;
  K_TABLE bool has_minimum = false;
  K_TABLE bool has_table = false;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 1.0f;

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) { return k_load_u16(block + 52); }
  K_FN int32_t scale_code(K_DEV const uint8_t*, uint32_t) { return 1; }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t) {
    return k_f16_to_f32(scale_bits(block, 0u));
  }
  K_FN uint32_t code(K_DEV const uint8_t* block, uint32_t i) {
    const uint32_t byte = i < 160u ? i % 32u : i < 240u ? 32u + i % 16u : 48u + i % 4u;
    const uint32_t digit = i < 160u ? i / 32u : i < 240u ? (i - 160u) / 16u : (i - 240u) / 4u;
    uint32_t rest = block[byte];
    for (uint32_t n = 0u; n < digit; ++n) rest = rest * 3u & 255u;
    return rest * 3u >> 8;
  }
};

}  // namespace quant
}  // namespace assay
