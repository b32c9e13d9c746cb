// TQ2_0: 256 weights in 66 bytes. w = d·(q − 1), q in 0..2 (and 3, which no quantiser writes).
//   bytes 0..63: 32 bytes serve each half of 128 weights, weight i (0..127) is bits 2·(i/32) of
//   byte i%32 | 64..65 d (f16)
// One scale for the block, which is cut in groups of 32 with a scale code of 1. Source: ggml's
// block_tq2_0.
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

struct TQ2_0 {
  K_TABLE uint32_t id = 35;
  K_TABLE uint32_t block_size = 256;
  K_TABLE uint32_t block_bytes = 66;
  K_TABLE uint32_t group_size = 32;
  K_TABLE uint32_t code_bits = 2;
  K_TABLE int32_t code_offset = 1;
  K_TABLE bool has_minimum = false;
  K_TABLE bool has_table = false;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 1.0f;

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) { return k_load_u16(block + 64); }
  K_FN int32_t scale_code(K_DEV const uint8_t*, uint32_t) { return 1; }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t) {
    return k_f16_to_f32(scale_bits(block, 0u));
  }
  K_FN uint32_t code(K_DEV const uint8_t* block, uint32_t i) {
    return (block[i / 128u * 32u + i % 32u] >> (2u * (i % 128u / 32u))) & 3u;
  }
};

}  // namespace quant
}  // namespace assay
