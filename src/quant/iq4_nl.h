// IQ4_NL: 32 weights in 18 bytes. w = d·value[q], q in 0..15.
//   bytes 0..1 d (f16) | 2..17: byte j holds weight j (low nibble) and weight j+16 (high nibble)
// The sixteen values are not evenly spaced. Source: ggml's block_iq4_nl and its table of values.
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

// value[q] for q = 0 … 7 and 8 … 15, a byte each, the first lowest: -127 -104 -83 -65 -49 -35 -22
// -10 | 1 13 25 38 53 69 89 113.
K_TABLE uint64_t iq4_low = 0xf6eaddcfbfad9881u;
K_TABLE uint64_t iq4_high = 0x7159453526190d01u;

struct IQ4_NL {
  K_TABLE uint32_t id = 20;
  K_TABLE uint32_t block_size = 32;
  K_TABLE uint32_t block_bytes = 18;
  K_TABLE uint32_t group_size = 32;
  K_TABLE uint32_t code_bits = 4;
  K_TABLE int32_t code_offset = 0;
  K_TABLE bool has_minimum = false;
  K_TABLE bool has_table = true;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 1.0f;

  K_TABLE uint64_t values_low = iq4_low;
  K_TABLE uint64_t values_high = iq4_high;

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) { return k_load_u16(block); }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t) {
    return k_f16_to_f32(scale_bits(block, 0u));
  }
  K_FN uint32_t code(K_DEV const uint8_t* block, uint32_t i) {
    return i < 16 ? block[2 + i] & 15u : block[2 + i - 16] >> 4;
  }
};

}  // namespace quant
}  // namespace assay
