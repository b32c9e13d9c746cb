// IQ4_XS: 256 weights in 136 bytes, eight groups of 32. w = (d·(sc_g − 32))·value[q], q in 0..15,
// with IQ4_NL's sixteen values.
//   bytes 0..1 d (f16) | 2..3 high two bits of sc_g, at 2·g | 4..7 low four bits, two groups a byte
//   | 8..135 codes: byte 8 + 16·g + j holds weights j (low nibble) and j+16 (high nibble) of group
//   g
// Source: ggml's block_iq4_xs. d·(sc − 32) is exact in f32 (11 + 6 bits).
#pragma once

#include "lang/lang.h"
#include "quant/iq4_nl.h"

namespace assay {
namespace quant {

struct IQ4_XS {
  K_TABLE uint32_t id = 23;
  K_TABLE uint32_t block_size = 256;
  K_TABLE uint32_t block_bytes = 136;
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
  K_FN int32_t scale_code(K_DEV const uint8_t* block, uint32_t group) {
    const int32_t low = (block[4 + group / 2] >> (4 * (group % 2))) & 15;
    const int32_t high = (k_load_u16(block + 2) >> (2 * group)) & 3;
    return (low | (high << 4)) - 32;
  }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t group) {
    return k_f16_to_f32(scale_bits(block, 0u)) * float(scale_code(block, group));
  }
  K_FN uint32_t code(K_DEV const uint8_t* block, uint32_t i) {
    const uint32_t byte = block[8 + i / 32 * 16 + i % 16];
    return i % 32 < 16 ? byte & 15u : byte >> 4;
  }
};

}  // namespace quant
}  // namespace assay
