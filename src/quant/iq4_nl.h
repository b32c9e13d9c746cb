// IQ4_NL: 32 weights in 18 bytes. w = d·value[q], q in 0..15.
//   bytes 0..1 d (f16) | 2..17: byte j holds weight j (low nibble) and weight j+16 (high nibble)
// The code of the common scheme is value[q] + 128, a byte: the sixteen values are not evenly
// spaced. Source: ggml's block_iq4_nl and its table of values.
#pragma once

#include "kernel/lang.h"

namespace assay::quant {

K_TABLE int8_t iq4_nl_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                    1,    13,   25,  38,  53,  69,  89,  113};

struct IQ4_NL {
  static constexpr const char* name = "IQ4_NL";
  static constexpr uint32_t id = 20;
  static constexpr uint32_t block_size = 32;
  static constexpr uint32_t block_bytes = 18;
  static constexpr uint32_t group_size = 32;
  static constexpr uint32_t code_bits = 8;
  static constexpr int32_t code_offset = 128;
  static constexpr bool has_minimum = false;

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block) { return k_load_u16(block); }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t) { return k_f16_to_f32(scale_bits(block)); }
  K_FN uint32_t code(K_DEV const uint8_t* block, uint32_t i) {
    const uint32_t q = i < 16 ? block[2 + i] & 15u : block[2 + i - 16] >> 4;
    return uint32_t(iq4_nl_values[q] + 128);
  }
};

}  // namespace assay::quant
