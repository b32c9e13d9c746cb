// chains_tile.h for AVX2 and AVX-512, each in a region of code compiled for that instruction set,
// so that one program needs no compiler flags of its own. Everything they share is included before
// the first region.
#pragma once

#include <array>
#include <cstdint>

#include "chains_contract.h"
#include "cpu/panel.h"

namespace assay::bench {

inline constexpr std::array widths = {1, 4, 6};  ///< columns a tile holds

/// Of a block of 256 columns × 16 rows. `panel` is cpu/panel.h's. `aligned` has the same bytes, but
/// the scale codes of all groups and then the minimum codes (for A2 as Pairs) stand before all
/// codes, so that every line of codes is 64-byte aligned.
enum class Layout { panel, aligned };

/// Offsets in a block, and the step from one group to the next.
struct BlockLayout {
  uint32_t codes, codes_step, scales, minima, scales_step;
};
using Packed = cpu::PanelLayout<Format>;
inline constexpr uint32_t block_bytes = Packed::panel_bytes(chunk);

constexpr BlockLayout block_layout(Layout layout) {
  constexpr uint32_t rows = cpu::panel_rows, first = Packed::block_bytes;
  if (layout == Layout::panel)
    return {first, Packed::group_bytes, first + Packed::code_bytes,
            first + Packed::code_bytes + rows, Packed::group_bytes};
  return {first + 2 * groups * rows, Packed::code_bytes, first, first + groups * rows, rows};
}

using Matmul = void (*)(const uint8_t* panels, uint64_t rows, uint64_t blocks, const Row* x,
                        uint64_t count, float* y);
using MatmulOfWidth = std::array<Matmul, widths.size()>;

struct Variant {
  Chain chain;
  Layout layout;
};
inline constexpr std::array variants = {
    Variant{Chain::a, Layout::panel}, Variant{Chain::a2, Layout::panel},
    Variant{Chain::a, Layout::aligned}, Variant{Chain::a2, Layout::aligned}};

}  // namespace assay::bench

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC diagnostic push
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns in its own header
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi2")
#endif
#include "cpu/simd_avx2.h"
namespace assay::bench::avx2 {
using Simd = cpu::Avx2;

struct Pairs {
  __m256i a, b;
};
static Simd::I32 zero_sums() {
  return {_mm256_setzero_si256(), _mm256_setzero_si256()};
}
static Pairs load_pairs(const uint8_t* p) {
  return {_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)p)),
          _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)(p + 16)))};
}
static Pairs interleave(const uint8_t* even, const uint8_t* odd) {
  const __m128i e = _mm_loadu_si128((const __m128i*)even), o = _mm_loadu_si128((const __m128i*)odd);
  return {_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(e, o)),
          _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(e, o))};
}
static Simd::I32 add_products(Simd::I32 sum, Pairs m, int32_t pair) {
  const __m256i s = _mm256_set1_epi32(pair);
  return {_mm256_add_epi32(sum.a, _mm256_madd_epi16(m.a, s)),
          _mm256_add_epi32(sum.b, _mm256_madd_epi16(m.b, s))};
}

#include "chains_tile.h"
}  // namespace assay::bench::avx2
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#if defined(__clang__)
#pragma clang attribute push(                                                                    \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c,bmi2"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c,bmi2")
#pragma GCC target("prefer-vector-width=512")
#endif
#include "cpu/simd_avx512.h"
namespace assay::bench::avx512 {
using Simd = cpu::Avx512;
using Pairs = __m512i;

static Simd::I32 zero_sums() {
  return _mm512_setzero_si512();
}
static Pairs load_pairs(const uint8_t* p) {
  return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i*)p));
}
static Pairs interleave(const uint8_t* even, const uint8_t* odd) {
  const __m128i e = _mm_loadu_si128((const __m128i*)even), o = _mm_loadu_si128((const __m128i*)odd);
  return _mm512_cvtepu8_epi16(_mm256_set_m128i(_mm_unpackhi_epi8(e, o), _mm_unpacklo_epi8(e, o)));
}
static Simd::I32 add_products(Simd::I32 sum, Pairs m, int32_t pair) {
  return _mm512_dpwssd_epi32(sum, m, _mm512_set1_epi32(pair));
}

#include "chains_tile.h"
}  // namespace assay::bench::avx512
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#pragma GCC diagnostic pop
#endif
