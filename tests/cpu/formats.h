// What the tests know of every format of quant::All: which there are, how a block gets its scales,
// and how large random blocks decode.
#pragma once

#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "quant/fields.h"

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

/// Puts what `scale()` and `minimum()` give into a block's fields: each scale that it has, then the
/// minimum, where there is one. Formats without an f16 take the nearest scale that they have.
template <class Scale, class Minimum>
void put_fields(uint32_t type, uint8_t* block, Scale scale, Minimum minimum) {
  quant::visit(type, [&]<class F>() {
    if constexpr (!quant::is_float_format<F>) {
      for (uint32_t group = 0; group < quant::own_scales<F>; ++group)
        quant::put_scale<F>(block, group, scale());
      if constexpr (F::has_minimum) quant::put_minimum<F>(block, minimum());
    }
  });
}

/// Makes the scale of a block's first group another one, by the least step that the file can hold.
inline void alter_scale(uint32_t type, uint8_t* block) {
  quant::visit(type, [&]<class F>() {
    if constexpr (!quant::is_float_format<F>) {
      if (quant::scale_field<F>().found)
        quant::scale_field<F>().put(block, uint16_t(F::scale_bits(block, 0) ^ 1));
      else
        block[quant::ByteField<F>(0).place] ^= 1;
    }
  });
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
    case quant::IQ4_XS::id:
      return {1246, 0};  // IQ4_NL's values, sc of −32 … 31: 18.5
    case quant::MXFP4::id:
    case quant::NVFP4::id:
      return {5.85, 0};  // 0 1 2 3 4 6 8 12
    case quant::IQ3_S::id:
      return {140, 0};  // its codebook's odd numbers up to 15, odd scales up to 31: 18.5
    case quant::IQ3_XXS::id:
      return {143, 0};  // its codebook's numbers up to 31, the same scales, halved
    case quant::IQ2_XXS::id:
    case quant::IQ2_XS::id:
    case quant::IQ2_S::id:
      return {55, 0};  // their codebooks' 8 25 43, the same scales, an eighth
    case quant::IQ1_S::id:
    case quant::IQ1_M::id:
      return {7.2, 0};  // their codebook's 1 7 9, odd scales up to 15: 9.2, an eighth
    case quant::TQ1_0::id:
      return {0.82, 0};  // −1 0 1
    case quant::TQ2_0::id:
      return {1.22, 0};  // −1 0 1 2
    default:
      return {1, 0};
  }
}

}  // namespace assay::tests
