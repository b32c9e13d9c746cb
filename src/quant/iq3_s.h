// IQ3_S: 256 weights in 110 bytes, eight groups of 32. w = d·(2·s_g + 1)·±(2·m + 1), m in 0..7.
//   bytes 0..1 d (f16) | 2..65 low eight bits of the 64 entries, each of a codebook of 512 and for
//   four weights | 66..73 their ninth bits | 74..105 signs, a bit a weight | 106..109 s_g, two
//   groups a byte
// A code is m, and 8 more where the sign is set. Source: ggml's block_iq3_s. d·(2·s + 1) is exact
// in f32 (11 + 5 bits).
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

struct IQ3_S {
  K_TABLE uint32_t id = 21;
  K_TABLE uint32_t block_size = 256;
  K_TABLE uint32_t block_bytes = 110;
  K_TABLE uint32_t group_size = 32;
  K_TABLE uint32_t code_bits = 4;
  K_TABLE int32_t code_offset = 0;
  K_TABLE bool has_minimum = false;
  K_TABLE bool has_table = true;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 1.0f;

  K_TABLE uint64_t values_low = 0x0f0d0b0907050301u;
  K_TABLE uint64_t values_high = 0xf1f3f5f7f9fbfdffu;

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) { return k_load_u16(block); }
  K_FN int32_t scale_code(K_DEV const uint8_t* block, uint32_t group) {
    return 1 + 2 * ((block[106 + group / 2] >> (4 * (group % 2))) & 15);
  }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t group) {
    return k_f16_to_f32(scale_bits(block, 0u)) * float(scale_code(block, group));
  }
  /// Looked up in a codebook: on the host (quant/codebooks.cpp).
  static uint32_t code(K_DEV const uint8_t* block, uint32_t i);
};

}  // namespace quant
}  // namespace assay
