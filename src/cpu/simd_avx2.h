// Sixteen lanes as two AVX2 registers. Every type is in an unnamed namespace: code compiled for one
// instruction set must never be merged by the linker with code compiled for another.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace assay::cpu {
namespace {

struct Avx2 {
  static constexpr const char* name = "avx2";
  struct F32 {
    __m256 a, b;
  };
  struct I32 {
    __m256i a, b;
  };

  static F32 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static F32 set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static F32 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static void store(float* p, F32 x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
  }
  static F32 load_f16(const uint16_t* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)),
            _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8)))};
  }
  static F32 load_bf16(const uint16_t* p) {
    const auto widen = [](const uint16_t* q) {
      const __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)q));
      return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
    };
    return {widen(p), widen(p + 8)};
  }
  static void store_f16(uint16_t* p, F32 x) {
    _mm_storeu_si128((__m128i*)p,
                     _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    _mm_storeu_si128((__m128i*)(p + 8),
                     _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static F32 add(F32 x, F32 y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
  static F32 sub(F32 x, F32 y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
  static F32 mul(F32 x, F32 y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
  static F32 div(F32 x, F32 y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
  static F32 max(F32 x, F32 y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
  static F32 fma(F32 x, F32 y, F32 z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
  }
  static F32 negate(F32 x) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_xor_ps(x.a, sign), _mm256_xor_ps(x.b, sign)};
  }
  /// x where |x| >= limit or NaN, else +0.
  static F32 floor_tiny(F32 x, float limit) {
    const __m256 sign = _mm256_set1_ps(-0.0f), bound = _mm256_set1_ps(limit);
    const auto keep = [&](__m256 v) {
      return _mm256_and_ps(v, _mm256_cmp_ps(_mm256_andnot_ps(sign, v), bound, _CMP_NLT_UQ));
    };
    return {keep(x.a), keep(x.b)};
  }
  /// value where !(x < bound), else 0.
  static F32 zero_where_less(F32 value, F32 x, float bound) {
    const __m256 limit = _mm256_set1_ps(bound);
    return {_mm256_and_ps(value.a, _mm256_cmp_ps(x.a, limit, _CMP_NLT_UQ)),
            _mm256_and_ps(value.b, _mm256_cmp_ps(x.b, limit, _CMP_NLT_UQ))};
  }
  /// value where !(x > bound), else +infinity.
  static F32 infinity_where_greater(F32 value, F32 x, float bound) {
    const __m256 limit = _mm256_set1_ps(bound), infinity = _mm256_set1_ps(__builtin_inff());
    return {_mm256_blendv_ps(value.a, infinity, _mm256_cmp_ps(x.a, limit, _CMP_GT_OQ)),
            _mm256_blendv_ps(value.b, infinity, _mm256_cmp_ps(x.b, limit, _CMP_GT_OQ))};
  }
  /// yes where a < b, else no, also where either is NaN.
  static F32 where_less(F32 a, F32 b, F32 yes, F32 no) {
    return {_mm256_blendv_ps(no.a, yes.a, _mm256_cmp_ps(a.a, b.a, _CMP_LT_OQ)),
            _mm256_blendv_ps(no.b, yes.b, _mm256_cmp_ps(a.b, b.b, _CMP_LT_OQ))};
  }
  static I32 truncate(F32 x) { return {_mm256_cvttps_epi32(x.a), _mm256_cvttps_epi32(x.b)}; }
  static I32 half(I32 x) { return {_mm256_srai_epi32(x.a, 1), _mm256_srai_epi32(x.b, 1)}; }
  static I32 sub(I32 x, I32 y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
  /// 2^n for -126 <= n <= 127.
  static F32 power_of_two(I32 n) {
    const __m256i bias = _mm256_set1_epi32(127);
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n.a, bias), 23)),
            _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n.b, bias), 23))};
  }
  static F32 to_float(I32 x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
  /// Sixteen signed or unsigned bytes as floats.
  static F32 load_i8(const uint8_t* p) {
    return to_float({_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)),
                     _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)(p + 8)))});
  }
  static F32 load_u8(const uint8_t* p) {
    return to_float({_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p)),
                     _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)(p + 8)))});
  }
  /// Sixteen 32-bit words shifted right and masked, as floats: one code of each row of a panel's
  /// line.
  static F32 code_lanes(const uint8_t* line, int shift, int mask) {
    const __m256i keep = _mm256_set1_epi32(mask);
    const __m128i count = _mm_cvtsi32_si128(shift);
    const auto lanes = [&](const uint8_t* p) {
      return _mm256_and_si256(_mm256_srl_epi32(_mm256_loadu_si256((const __m256i*)p), count), keep);
    };
    return to_float({lanes(line), lanes(line + 32)});
  }
  static __m256i load_table(const int8_t* table) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)table));
  }
  /// The same with nibbles as codes, and their values from a table of sixteen.
  static F32 table_lanes(const uint8_t* line, int shift, const int8_t* table) {
    const __m256i keep = _mm256_set1_epi32(15), values = load_table(table);
    const __m128i count = _mm_cvtsi32_si128(shift);
    const auto lanes = [&](const uint8_t* p) {
      const __m256i words = _mm256_srl_epi32(_mm256_loadu_si256((const __m256i*)p), count);
      const __m256i bytes = _mm256_shuffle_epi8(values, _mm256_and_si256(words, keep));
      return _mm256_srai_epi32(_mm256_slli_epi32(bytes, 24), 24);
    };
    return to_float({lanes(line), lanes(line + 32)});
  }
  /// Largest bit pattern of |x| over 16 lanes.
  static uint32_t max_magnitude_bits(F32 x, F32 y) {
    const __m256i mask = _mm256_set1_epi32(0x7fffffff);
    const auto bits = [&](__m256 v) { return _mm256_and_si256(_mm256_castps_si256(v), mask); };
    const __m256i m = _mm256_max_epu32(_mm256_max_epu32(bits(x.a), bits(x.b)),
                                       _mm256_max_epu32(bits(y.a), bits(y.b)));
    __m128i r = _mm_max_epu32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
    r = _mm_max_epu32(r, _mm_shuffle_epi32(r, 0x4e));
    r = _mm_max_epu32(r, _mm_shuffle_epi32(r, 0xb1));
    return uint32_t(_mm_cvtsi128_si32(r));
  }
  /// Codes rne(x·inverse) of 16 lanes as int8 into p; returns their sum.
  static int32_t quantise(F32 x, float inverse, int8_t* p) {
    const __m256 scale = _mm256_set1_ps(inverse);
    const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(x.a, scale));
    const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(x.b, scale));
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    _mm_storeu_si128((__m128i*)p, _mm_packs_epi16(_mm256_castsi256_si128(words),
                                                  _mm256_extracti128_si256(words, 1)));
    const __m256i pairs = _mm256_add_epi32(a, b);
    __m128i r = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    r = _mm_add_epi32(r, _mm_shuffle_epi32(r, 0x4e));
    r = _mm_add_epi32(r, _mm_shuffle_epi32(r, 0xb1));
    return _mm_cvtsi128_si32(r);
  }
  static float max_of(F32 x) {
    const __m256 m = _mm256_max_ps(x.a, x.b);
    __m128 r = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    r = _mm_max_ps(r, _mm_movehl_ps(r, r));
    r = _mm_max_ss(r, _mm_shuffle_ps(r, r, 1));
    return _mm_cvtss_f32(r);
  }
  /// The xor tree 8, 4, 2, 1 over 16 lanes (the 16 of 32 lanes was an add of two registers).
  static float tree_sum(F32 x) {
    const __m256 eight = _mm256_add_ps(x.a, x.b);
    __m128 r = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    r = _mm_add_ps(r, _mm_movehl_ps(r, r));
    r = _mm_add_ss(r, _mm_shuffle_ps(r, r, 1));
    return _mm_cvtss_f32(r);
  }

  /// Eight independent chains of maddubs, add, as dot_nibbles has them.
  static uint64_t int8_peak(uint64_t rounds) {
    __m256i sums[8], w = _mm256_set1_epi8(15), x = _mm256_set1_epi8(1);
    for (__m256i& sum : sums) sum = _mm256_setzero_si256();
    for (uint64_t i = 0; i < rounds; ++i) {
      __asm__ volatile("" : "+x"(w), "+x"(x));
      for (__m256i& sum : sums) sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x));
    }
    for (__m256i& sum : sums) __asm__ volatile("" : : "x"(sum));
    return rounds * 8 * 64;
  }

  static __m256i broadcast4(const int8_t* x) {
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    return _mm256_set1_epi32(four);
  }

  /// dot[c][row] = Σ_k (code[row][k] − offset)·x[c][k] over one group of 8·lines nibble codes;
  /// sums[c] = Σ_k x[c][k] (not read where the offset is 0). Sixteen-bit sums cannot saturate: for
  /// four lines, 8 steps of two products are at most 16·15·127 = 30480.
  template <int columns, int lines, int offset>
  static void dot_nibbles(const uint8_t* codes, const int8_t* const* x, const int32_t* sums,
                          I32* dot) {
    static_assert(lines <= 4);
    const __m256i low_mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    __m256i a[columns], b[columns];
    for (int c = 0; c < columns; ++c) a[c] = b[c] = _mm256_setzero_si256();
    for (int line = 0; line < lines; ++line) {
      const __m256i wa = _mm256_loadu_si256((const __m256i*)(codes + 64 * line));
      const __m256i wb = _mm256_loadu_si256((const __m256i*)(codes + 64 * line + 32));
      const __m256i la = _mm256_and_si256(wa, low_mask), lb = _mm256_and_si256(wb, low_mask);
      for (int c = 0; c < columns; ++c) {
        const __m256i v = broadcast4(x[c] + 4 * line);
        a[c] = _mm256_add_epi16(a[c], _mm256_maddubs_epi16(la, v));
        b[c] = _mm256_add_epi16(b[c], _mm256_maddubs_epi16(lb, v));
      }
      const __m256i ha = _mm256_and_si256(_mm256_srli_epi16(wa, 4), low_mask);
      const __m256i hb = _mm256_and_si256(_mm256_srli_epi16(wb, 4), low_mask);
      for (int c = 0; c < columns; ++c) {
        const __m256i v = broadcast4(x[c] + 4 * lines + 4 * line);
        a[c] = _mm256_add_epi16(a[c], _mm256_maddubs_epi16(ha, v));
        b[c] = _mm256_add_epi16(b[c], _mm256_maddubs_epi16(hb, v));
      }
    }
    for (int c = 0; c < columns; ++c) {
      dot[c] = {_mm256_madd_epi16(a[c], ones), _mm256_madd_epi16(b[c], ones)};
      if constexpr (offset != 0) {
        const __m256i shift = _mm256_set1_epi32(offset * sums[c]);
        dot[c] = sub(dot[c], {shift, shift});
      }
    }
  }

  /// The same over nibble codes that stand for the values of a table of sixteen, of magnitude
  /// `largest` at most, by sign and magnitude. Up to 64 two steps fit sixteen bits (4·64·127 =
  /// 32512).
  template <int columns, int lines, int largest>
  static void dot_table(const uint8_t* codes, const int8_t* const* x, const int32_t*,
                        const int8_t* table, I32* dot) {
    static_assert(largest <= 127);
    const __m256i low_mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    const __m256i values = load_table(table), sizes = _mm256_abs_epi8(values);
    for (int c = 0; c < columns; ++c) dot[c].a = dot[c].b = _mm256_setzero_si256();
    for (int line = 0; line < lines; ++line) {
      const __m256i* p = (const __m256i*)(codes + 64 * line);
      const auto eight_rows = [&](__m256i w, __m256i I32::*part) {
        const __m256i low = _mm256_and_si256(w, low_mask);
        const __m256i high = _mm256_and_si256(_mm256_srli_epi16(w, 4), low_mask);
        const __m256i low_size = _mm256_shuffle_epi8(sizes, low),
                      high_size = _mm256_shuffle_epi8(sizes, high);
        const __m256i low_value = _mm256_shuffle_epi8(values, low),
                      high_value = _mm256_shuffle_epi8(values, high);
        for (int c = 0; c < columns; ++c) {
          const __m256i v = broadcast4(x[c] + 4 * line), u = broadcast4(x[c] + 4 * (lines + line));
          const __m256i s = _mm256_maddubs_epi16(low_size, _mm256_sign_epi8(v, low_value));
          const __m256i t = _mm256_maddubs_epi16(high_size, _mm256_sign_epi8(u, high_value));
          __m256i& sum = dot[c].*part;
          if constexpr (largest <= 64) {
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_add_epi16(s, t), ones));
          } else {
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(s, ones));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(t, ones));
          }
        }
      };
      eight_rows(_mm256_loadu_si256(p), &I32::a);
      eight_rows(_mm256_loadu_si256(p + 1), &I32::b);
    }
  }

  /// The same over `lines`·4 byte codes of at most `bits` bits. Up to six bits two steps fit
  /// sixteen bits (4·63·127 = 32004); wider codes go by sign and magnitude (2·128·127 = 32512).
  template <int columns, int lines, int bits, int offset>
  static void dot_bytes(const uint8_t* codes, const int8_t* const* x, const int32_t* sums,
                        I32* dot) {
    const __m256i ones = _mm256_set1_epi16(1);
    if constexpr (bits <= 6) {
      for (int c = 0; c < columns; ++c) dot[c].a = dot[c].b = _mm256_set1_epi32(-offset * sums[c]);
      for (int line = 0; line < lines; line += 2) {
        const __m256i* p = (const __m256i*)(codes + 64 * line);
        const __m256i wa = _mm256_loadu_si256(p), wb = _mm256_loadu_si256(p + 1);
        const __m256i za = _mm256_loadu_si256(p + 2), zb = _mm256_loadu_si256(p + 3);
        for (int c = 0; c < columns; ++c) {
          const __m256i v = broadcast4(x[c] + 4 * line), u = broadcast4(x[c] + 4 * line + 4);
          const __m256i sa =
              _mm256_add_epi16(_mm256_maddubs_epi16(wa, v), _mm256_maddubs_epi16(za, u));
          const __m256i sb =
              _mm256_add_epi16(_mm256_maddubs_epi16(wb, v), _mm256_maddubs_epi16(zb, u));
          dot[c].a = _mm256_add_epi32(dot[c].a, _mm256_madd_epi16(sa, ones));
          dot[c].b = _mm256_add_epi32(dot[c].b, _mm256_madd_epi16(sb, ones));
        }
      }
    } else {
      static_assert(offset == 128, "eight-bit codes are signed bytes with the top bit flipped");
      const __m256i flip = _mm256_set1_epi8(char(0x80));
      for (int c = 0; c < columns; ++c) dot[c].a = dot[c].b = _mm256_setzero_si256();
      for (int line = 0; line < lines; ++line) {
        const __m256i* p = (const __m256i*)(codes + 64 * line);
        const __m256i wa = _mm256_xor_si256(_mm256_loadu_si256(p), flip);
        const __m256i wb = _mm256_xor_si256(_mm256_loadu_si256(p + 1), flip);
        const __m256i ma = _mm256_abs_epi8(wa), mb = _mm256_abs_epi8(wb);
        for (int c = 0; c < columns; ++c) {
          const __m256i v = broadcast4(x[c] + 4 * line);
          const __m256i sa = _mm256_maddubs_epi16(ma, _mm256_sign_epi8(v, wa));
          const __m256i sb = _mm256_maddubs_epi16(mb, _mm256_sign_epi8(v, wb));
          dot[c].a = _mm256_add_epi32(dot[c].a, _mm256_madd_epi16(sa, ones));
          dot[c].b = _mm256_add_epi32(dot[c].b, _mm256_madd_epi16(sb, ones));
        }
      }
    }
  }
};

}  // namespace
}  // namespace assay::cpu
