// What the tests know of every format of quant::All: which there are, where a block's f16 fields
// stand, and how large random blocks decode.
#pragma once

#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "quant/formats.h"

namespace assay::tests {

template <class... F>
constexpr std::array<uint32_t, sizeof...(F)> ids_of(quant::List<F...>) {
  return {F::id...};
}
template <class... F>
constexpr auto block_ids_of(quant::List<F...>) {
  std::array<uint32_t, ((quant::is_float_format<F> ? 0 : 1) + ...)> ids{};
  size_t n = 0;
  ((quant::is_float_format<F> ? void() : void(ids[n++] = F::id)), ...);
  return ids;
}
inline constexpr auto all_formats = ids_of(quant::All{});
inline constexpr auto block_formats = block_ids_of(quant::All{});
inline constexpr uint32_t float_formats[] = {quant::F32::id, quant::F16::id, quant::BF16::id};
static_assert(all_formats.size() == block_formats.size() + std::size(float_formats));

/// Where the f16 that `read` reads stands in a block: found by trying, so that no table of offsets
/// can agree with a wrong format.
template <class Read>
size_t half_offset(size_t block_bytes, Read read) {
  for (size_t at = 0; at + 2 <= block_bytes; ++at) {
    std::vector<uint8_t> block(block_bytes, 0);
    block[at] = 0x34, block[at + 1] = 0x12;
    if (read(block.data()) == 0x1234) return at;
  }
  std::abort();
}

/// The offsets of a block's f16 fields: the scale's, then the minimum's where there is one.
inline std::vector<size_t> half_offsets(uint32_t type) {
  std::vector<size_t> offsets;
  quant::visit(type, [&]<class F>() {
    if constexpr (!quant::is_float_format<F>) {
      offsets.push_back(half_offset(F::block_bytes, [](auto* b) { return F::scale_bits(b); }));
      if constexpr (F::has_minimum)
        offsets.push_back(half_offset(F::block_bytes, [](auto* b) { return F::minimum_bits(b); }));
    }
  });
  return offsets;
}

/// What random blocks with a scale of 1 decode to: with `minimum` in the minimum's field the mean
/// is about 0, and the root mean square is about `rms`. Codes are uniform in 0 … n − 1: about their
/// middle their mean square is (n² − 1)/12, about n/2 a quarter more.
struct Spread {
  double rms, minimum;
};
inline Spread spread(uint32_t type) {
  switch (type) {
    case quant::Q8_0::id:
      return {74, 0};  // 256 codes: 73.9
    case quant::Q4_0::id:
      return {4.64, 0};  // 16 codes
    case quant::Q4_1::id:
      return {4.61, -7.5};  // 16 codes
    case quant::Q5_0::id:
      return {9.25, 0};  // 32 codes
    case quant::Q5_1::id:
      return {9.23, -15.5};  // 32 codes
    case quant::IQ4_NL::id:
      return {67.4, 0};  // its sixteen values
    case quant::Q2_K::id:
      return {13.9, 1.5};  // sc, m in 0 … 15: 77.5·(3.5 + 1.5²) − 2·11.25²
    case quant::Q3_K::id:
      return {43.3, 0};  // sc of −32 … 31: 18.5, codes 2.35
    case quant::Q4_K::id:
      return {258, 7.5};  // sc, m in 0 … 63
    case quant::Q5_K::id:
      return {527, 15.5};  // the same, twice the codes
    case quant::Q6_K::id:
      return {1365, 0};  // sc of −128 … 127: 73.9, codes 18.5
    default:
      return {1, 0};
  }
}

}  // namespace assay::tests
