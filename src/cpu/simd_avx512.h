// Sixteen lanes as one AVX-512 register (F, BW, VL, DQ, VNNI). The same words as simd_avx2.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace assay::cpu {
namespace {

struct Avx512 {
  static constexpr const char* name = "avx512";
  using F32 = __m512;
  using I32 = __m512i;

  static F32 zero() { return _mm512_setzero_ps(); }
  static F32 set(float x) { return _mm512_set1_ps(x); }
  static F32 load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F32 x) { _mm512_storeu_ps(p, x); }
  static F32 load_f16(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
  }
  static F32 load_bf16(const uint16_t* p) {
    const __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
  }
  static void store_f16(uint16_t* p, F32 x) {
    _mm256_storeu_si256((__m256i*)p,
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static F32 add(F32 x, F32 y) { return _mm512_add_ps(x, y); }
  static F32 sub(F32 x, F32 y) { return _mm512_sub_ps(x, y); }
  static F32 mul(F32 x, F32 y) { return _mm512_mul_ps(x, y); }
  static F32 div(F32 x, F32 y) { return _mm512_div_ps(x, y); }
  static F32 max(F32 x, F32 y) { return _mm512_max_ps(x, y); }
  static F32 fma(F32 x, F32 y, F32 z) { return _mm512_fmadd_ps(x, y, z); }
  static F32 negate(F32 x) { return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f)); }
  static F32 floor_tiny(F32 x, float limit) {
    return _mm512_maskz_mov_ps(
        _mm512_cmp_ps_mask(_mm512_abs_ps(x), _mm512_set1_ps(limit), _CMP_NLT_UQ), x);
  }
  static F32 zero_where_less(F32 value, F32 x, float bound) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(bound), _CMP_NLT_UQ), value);
  }
  static F32 infinity_where_greater(F32 value, F32 x, float bound) {
    const __mmask16 greater = _mm512_cmp_ps_mask(x, _mm512_set1_ps(bound), _CMP_GT_OQ);
    return _mm512_mask_mov_ps(value, greater, _mm512_set1_ps(__builtin_inff()));
  }
  static F32 where_less(F32 a, F32 b, F32 yes, F32 no) {
    return _mm512_mask_mov_ps(no, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), yes);
  }
  static I32 truncate(F32 x) { return _mm512_cvttps_epi32(x); }
  static I32 half(I32 x) { return _mm512_srai_epi32(x, 1); }
  static I32 sub(I32 x, I32 y) { return _mm512_sub_epi32(x, y); }
  static F32 power_of_two(I32 n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
  }
  static F32 to_float(I32 x) { return _mm512_cvtepi32_ps(x); }
  static F32 load_i8(const uint8_t* p) {
    return to_float(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)));
  }
  static F32 load_u8(const uint8_t* p) {
    return to_float(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p)));
  }
  static F32 code_lanes(const uint8_t* line, int shift, int mask) {
    const __m512i words = _mm512_srl_epi32(_mm512_loadu_si512(line), _mm_cvtsi32_si128(shift));
    return to_float(_mm512_and_si512(words, _mm512_set1_epi32(mask)));
  }
  static __m512i load_table(const int8_t* table) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i*)table));
  }
  static F32 table_lanes(const uint8_t* line, int shift, const int8_t* table) {
    const __m512i words = _mm512_srl_epi32(_mm512_loadu_si512(line), _mm_cvtsi32_si128(shift));
    const __m512i codes = _mm512_and_si512(words, _mm512_set1_epi32(15));
    const __m512i bytes = _mm512_shuffle_epi8(load_table(table), codes);
    return to_float(_mm512_srai_epi32(_mm512_slli_epi32(bytes, 24), 24));
  }
  static uint32_t max_magnitude_bits(F32 x, F32 y) {
    const __m512i mask = _mm512_set1_epi32(0x7fffffff);
    return _mm512_reduce_max_epu32(
        _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(x), mask),
                         _mm512_and_si512(_mm512_castps_si512(y), mask)));
  }
  static int32_t quantise(F32 x, float inverse, int8_t* p) {
    const __m512i codes = _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(inverse)));
    _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8(codes));
    return _mm512_reduce_add_epi32(codes);
  }
  static float max_of(F32 x) { return _mm512_reduce_max_ps(x); }
  static float tree_sum(F32 x) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 r = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    r = _mm_add_ps(r, _mm_movehl_ps(r, r));
    r = _mm_add_ss(r, _mm_shuffle_ps(r, r, 1));
    return _mm_cvtss_f32(r);
  }

  /// Eight independent chains of vpdpbusd.
  static uint64_t int8_peak(uint64_t rounds) {
    __m512i sums[8], w = _mm512_set1_epi8(15), x = _mm512_set1_epi8(1);
    for (__m512i& sum : sums) sum = _mm512_setzero_si512();
    for (uint64_t i = 0; i < rounds; ++i) {
      __asm__ volatile("" : "+v"(w), "+v"(x));
      for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, w, x);
    }
    for (__m512i& sum : sums) __asm__ volatile("" : : "v"(sum));
    return rounds * 8 * 128;
  }

  static __m512i broadcast4(const int8_t* x) {
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    return _mm512_set1_epi32(four);
  }

  template <int columns, int lines, int offset>
  static void dot_nibbles(const uint8_t* codes, const int8_t* const* x, const int32_t* sums,
                          I32* dot) {
    const __m512i low_mask = _mm512_set1_epi8(15);
    for (int c = 0; c < columns; ++c)
      dot[c] = _mm512_set1_epi32(offset == 0 ? 0 : -offset * sums[c]);
    for (int line = 0; line < lines; ++line) {
      const __m512i w = _mm512_loadu_si512(codes + 64 * line);
      const __m512i low = _mm512_and_si512(w, low_mask);
      const __m512i high = _mm512_and_si512(_mm512_srli_epi16(w, 4), low_mask);
      for (int c = 0; c < columns; ++c) {
        dot[c] = _mm512_dpbusd_epi32(dot[c], low, broadcast4(x[c] + 4 * line));
        dot[c] = _mm512_dpbusd_epi32(dot[c], high, broadcast4(x[c] + 4 * lines + 4 * line));
      }
    }
  }

  /// The values with 128 added, as vpdpbusd's first factor has no sign.
  template <int columns, int lines, int>
  static void dot_table(const uint8_t* codes, const int8_t* const* x, const int32_t* sums,
                        const int8_t* table, I32* dot) {
    const __m512i low_mask = _mm512_set1_epi8(15);
    const __m512i values = _mm512_xor_si512(load_table(table), _mm512_set1_epi8(char(0x80)));
    for (int c = 0; c < columns; ++c) dot[c] = _mm512_set1_epi32(-128 * sums[c]);
    for (int line = 0; line < lines; ++line) {
      const __m512i w = _mm512_loadu_si512(codes + 64 * line);
      const __m512i low = _mm512_shuffle_epi8(values, _mm512_and_si512(w, low_mask));
      const __m512i high =
          _mm512_shuffle_epi8(values, _mm512_and_si512(_mm512_srli_epi16(w, 4), low_mask));
      for (int c = 0; c < columns; ++c) {
        dot[c] = _mm512_dpbusd_epi32(dot[c], low, broadcast4(x[c] + 4 * line));
        dot[c] = _mm512_dpbusd_epi32(dot[c], high, broadcast4(x[c] + 4 * lines + 4 * line));
      }
    }
  }

  template <int columns, int lines, int bits, int offset>
  static void dot_bytes(const uint8_t* codes, const int8_t* const* x, const int32_t* sums,
                        I32* dot) {
    for (int c = 0; c < columns; ++c) dot[c] = _mm512_set1_epi32(-offset * sums[c]);
    for (int line = 0; line < lines; ++line) {
      const __m512i w = _mm512_loadu_si512(codes + 64 * line);
      for (int c = 0; c < columns; ++c)
        dot[c] = _mm512_dpbusd_epi32(dot[c], w, broadcast4(x[c] + 4 * line));
    }
  }
};

}  // namespace
}  // namespace assay::cpu
