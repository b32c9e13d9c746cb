// Codes of the IQ1, IQ2 and IQ3 formats. Each file beside this one says where an entry, its high
// bits and its signs stand.
#include "quant/codebooks.h"

#include <bit>

#include "quant/list.h"

namespace assay::quant {
namespace {

/// Value `lane` of an entry.
uint32_t of_eight(uint16_t entry, uint32_t lane) {
  return (entry >> (2 * lane)) & 3u;
}
uint32_t of_four(uint16_t entry, uint32_t lane) {
  return (entry >> (3 * lane)) & 7u;
}

/// Sign `lane` of eight, seven of which are stored: their number is even.
uint32_t sign_of_seven(uint32_t seven, uint32_t lane) {
  return lane < 7 ? (seven >> lane) & 1u : uint32_t(std::popcount(seven)) & 1u;
}
uint32_t bit(const uint8_t* bytes, uint32_t i) {
  return (bytes[i / 8] >> (i % 8)) & 1u;
}
uint32_t word(const uint8_t* bytes) {
  return k_load_u16(bytes) | uint32_t(k_load_u16(bytes + 2)) << 16;
}

}  // namespace

uint32_t IQ2_XXS::code(const uint8_t* block, uint32_t i) {
  const uint8_t* group = block + 2 + i / 32 * 8;
  const uint32_t entry = i % 32 / 8;
  const uint32_t sign = sign_of_seven((word(group + 4) >> (7 * entry)) & 127u, i % 8);
  return of_eight(iq2_xxs_codebook[group[entry]], i % 8) | sign << 2;
}

uint32_t IQ2_XS::code(const uint8_t* block, uint32_t i) {
  const uint32_t bits = k_load_u16(block + 2 + i / 8 * 2);
  return of_eight(iq2_xs_codebook[bits & 511u], i % 8) | sign_of_seven(bits >> 9, i % 8) << 2;
}

uint32_t IQ2_S::code(const uint8_t* block, uint32_t i) {
  const uint32_t entry = i / 8, high = (block[66 + entry / 4] >> (2 * (entry % 4))) & 3u;
  return of_eight(iq2_s_codebook[block[2 + entry] | high << 8], i % 8) | bit(block + 34, i) << 2;
}

uint32_t IQ3_XXS::code(const uint8_t* block, uint32_t i) {
  const uint32_t signs = word(block + 66 + i / 32 * 4) >> (7 * (i % 32 / 8));
  return of_four(iq3_xxs_codebook[block[2 + i / 4]], i % 4) | sign_of_seven(signs & 127u, i % 8)
                                                                  << 3;
}

uint32_t IQ3_S::code(const uint8_t* block, uint32_t i) {
  const uint32_t entry = block[2 + i / 4] | bit(block + 66, i / 4) << 8;
  return of_four(iq3_s_codebook[entry], i % 4) | bit(block + 74, i) << 3;
}

uint32_t IQ1_S::code(const uint8_t* block, uint32_t i) {
  const uint32_t bits = k_load_u16(block + 34 + i / 32 * 2);
  const uint32_t high = (bits >> (3 * (i % 32 / 8))) & 7u;
  return of_eight(iq1_codebook[block[2 + i / 8] | high << 8], i % 8) | bits >> 15 << 2;
}

uint32_t IQ1_M::code(const uint8_t* block, uint32_t i) {
  const uint32_t bits = (block[32 + i / 16] >> (i % 16 / 8 * 4)) & 15u;
  return of_eight(iq1_codebook[block[i / 8] | (bits & 7u) << 8], i % 8) | bits >> 3 << 2;
}

}  // namespace assay::quant
