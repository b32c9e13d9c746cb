// Q5_K: 256 weights in 176 bytes, eight groups of 32. w = (d·sc_g)·q − (dmin·m_g), q in 0..31.
//   bytes 0..1 d (f16) | 2..3 dmin (f16) | 4..15 sc_g and m_g, six bits each, packed as in Q4_K |
//   16..47 fifth bits: bit i/32 of byte i%32 | 48..175 low four bits: 32 bytes serve groups 2c (low
//   nibbles) and 2c+1 (high nibbles)
// Source: ggml's block_q5_K. d·sc and dmin·m are exact in f32 (11 + 6 bits).
#pragma once

#include "lang/lang.h"
#include "quant/q4_k.h"

namespace assay {
namespace quant {

struct Q5_K {
  K_TABLE uint32_t id = 13;
  K_TABLE uint32_t block_size = 256;
  K_TABLE uint32_t block_bytes = 176;
  K_TABLE uint32_t group_size = 32;
  K_TABLE uint32_t code_bits = 5;
  K_TABLE int32_t code_offset = 0;
  K_TABLE bool has_minimum = true;
  K_TABLE bool has_table = false;
  K_TABLE bool scale_is_bf16 = false;
  K_TABLE float scale_unit = 1.0f;

  K_TABLE float minimum_sign = -1.0f;  ///< what the file stores is subtracted

  K_FN uint16_t scale_bits(K_DEV const uint8_t* block, uint32_t) { return k_load_u16(block); }
  K_FN uint16_t minimum_bits(K_DEV const uint8_t* block) { return k_load_u16(block + 2); }
  K_FN int32_t scale_code(K_DEV const uint8_t* block, uint32_t group) {
    return Q4_K::scale_code(block, group);
  }
  K_FN int32_t minimum_code(K_DEV const uint8_t* block, uint32_t group) {
    return Q4_K::minimum_code(block, group);
  }
  K_FN float scale(K_DEV const uint8_t* block, uint32_t group) {
    return k_f16_to_f32(scale_bits(block, 0u)) * float(scale_code(block, group));
  }
  K_FN float minimum(K_DEV const uint8_t* block, uint32_t group) {
    return -(k_f16_to_f32(minimum_bits(block)) * float(minimum_code(block, group)));
  }
  K_FN uint32_t code(K_DEV const uint8_t* block, uint32_t i) {
    const uint32_t byte = block[48 + (i / 64) * 32 + i % 32];
    const uint32_t low = (i % 64) < 32 ? byte & 15u : byte >> 4;
    const uint32_t high = (block[16 + i % 32] >> (i / 32)) & 1u;
    return low | (high << 4);
  }
};

}  // namespace quant
}  // namespace assay
