// Sixteen lanes as an array: the plain fallback for any machine, and the form the others are tested
// against. The same words as simd_avx2.h.
#pragma once

#include <cmath>
#include <cstdint>

#include "lang/lang.h"

namespace assay::cpu {
namespace {

struct Portable {
  static constexpr const char* name = "portable";
  struct F32 {
    float lane[16];
  };
  struct I32 {
    int32_t lane[16];
  };

  template <class To, class Function>
  static To each(Function function) {
    To r;
    for (int i = 0; i < 16; ++i) r.lane[i] = function(i);
    return r;
  }
  static F32 zero() { return set(0.0f); }
  static F32 set(float x) {
    return each<F32>([&](int) { return x; });
  }
  static F32 load(const float* p) {
    return each<F32>([&](int i) { return p[i]; });
  }
  static void store(float* p, F32 x) {
    for (int i = 0; i < 16; ++i) p[i] = x.lane[i];
  }
  static F32 load_f16(const uint16_t* p) {
    return each<F32>([&](int i) { return k_f16_to_f32(p[i]); });
  }
  static F32 load_bf16(const uint16_t* p) {
    return each<F32>([&](int i) { return k_float(uint32_t(p[i]) << 16); });
  }
  static void store_f16(uint16_t* p, F32 x) {
    for (int i = 0; i < 16; ++i) p[i] = k_f32_to_f16(x.lane[i]);
  }
  static F32 add(F32 x, F32 y) {
    return each<F32>([&](int i) { return x.lane[i] + y.lane[i]; });
  }
  static F32 sub(F32 x, F32 y) {
    return each<F32>([&](int i) { return x.lane[i] - y.lane[i]; });
  }
  static F32 mul(F32 x, F32 y) {
    return each<F32>([&](int i) { return x.lane[i] * y.lane[i]; });
  }
  static F32 div(F32 x, F32 y) {
    return each<F32>([&](int i) { return x.lane[i] / y.lane[i]; });
  }
  static F32 max(F32 x, F32 y) {
    return each<F32>([&](int i) { return x.lane[i] > y.lane[i] ? x.lane[i] : y.lane[i]; });
  }
  static F32 fma(F32 x, F32 y, F32 z) {
    return each<F32>([&](int i) { return k_fma(x.lane[i], y.lane[i], z.lane[i]); });
  }
  static F32 negate(F32 x) {
    return each<F32>([&](int i) { return -x.lane[i]; });
  }
  static F32 floor_tiny(F32 x, float limit) {
    return each<F32>(
        [&](int i) { return x.lane[i] > -limit && x.lane[i] < limit ? 0.0f : x.lane[i]; });
  }
  static F32 zero_where_less(F32 value, F32 x, float bound) {
    return each<F32>([&](int i) { return x.lane[i] < bound ? 0.0f : value.lane[i]; });
  }
  static F32 infinity_where_greater(F32 value, F32 x, float bound) {
    return each<F32>([&](int i) { return x.lane[i] > bound ? __builtin_inff() : value.lane[i]; });
  }
  static F32 where_less(F32 a, F32 b, F32 yes, F32 no) {
    return each<F32>([&](int i) { return a.lane[i] < b.lane[i] ? yes.lane[i] : no.lane[i]; });
  }
  /// Lanes outside int32 (or NaN) give 0: their results are replaced or NaN anyway.
  static I32 truncate(F32 x) {
    return each<I32>(
        [&](int i) { return std::fabs(x.lane[i]) < 0x1p31f ? int32_t(x.lane[i]) : 0; });
  }
  static I32 half(I32 x) {
    return each<I32>([&](int i) { return x.lane[i] >> 1; });
  }
  static I32 sub(I32 x, I32 y) {
    return each<I32>([&](int i) { return x.lane[i] - y.lane[i]; });
  }
  static F32 power_of_two(I32 n) {
    return each<F32>([&](int i) { return k_float(uint32_t(n.lane[i] + 127) << 23); });
  }
  static F32 to_float(I32 x) {
    return each<F32>([&](int i) { return float(x.lane[i]); });
  }
  static F32 load_i8(const uint8_t* p) {
    return each<F32>([&](int i) { return float(int8_t(p[i])); });
  }
  static F32 load_u8(const uint8_t* p) {
    return each<F32>([&](int i) { return float(p[i]); });
  }
  static F32 code_lanes(const uint8_t* line, int shift, int mask) {
    return each<F32>([&](int i) { return float((line[4 * i + shift / 8] >> (shift % 8)) & mask); });
  }
  static F32 table_lanes(const uint8_t* line, int shift, const int8_t* table) {
    return each<F32>(
        [&](int i) { return float(table[(line[4 * i + shift / 8] >> (shift % 8)) & 15]); });
  }
  static uint32_t max_magnitude_bits(F32 x, F32 y) {
    uint32_t largest = 0;
    for (const F32* v : {&x, &y})
      for (float lane : v->lane)
        largest = largest > (k_bits(lane) & 0x7fffffffu) ? largest : k_bits(lane) & 0x7fffffffu;
    return largest;
  }
  static int32_t quantise(F32 x, float inverse, int8_t* p) {
    int32_t sum = 0;
    for (int i = 0; i < 16; ++i) {
      const int32_t code = int32_t(std::nearbyintf(x.lane[i] * inverse));
      p[i] = int8_t(code);
      sum += code;
    }
    return sum;
  }
  static float max_of(F32 x) {
    float m = x.lane[0];
    for (float lane : x.lane) m = lane > m ? lane : m;
    return m;
  }
  static float tree_sum(F32 x) {
    for (int step = 8; step >= 1; step /= 2)
      for (int i = 0; i < step; ++i) x.lane[i] = x.lane[i] + x.lane[i + step];
    return x.lane[0];
  }

  /// A plain loop of multiply and add.
  static uint64_t int8_peak(uint64_t rounds) {
    int32_t sums[16] = {};
    int8_t w = 15, x = 1;
    for (uint64_t i = 0; i < rounds; ++i) {
      __asm__ volatile("" : "+r"(w), "+r"(x));
      for (int32_t& sum : sums) sum += w * x;
    }
    __asm__ volatile("" : : "r"(sums) : "memory");
    return rounds * 16 * 2;
  }

  template <int columns, int lines, int offset>
  static void dot_nibbles(const uint8_t* codes, const int8_t* const* x, const int32_t* sums,
                          I32* dot) {
    constexpr int half = 4 * lines;
    for (int c = 0; c < columns; ++c)
      dot[c] = each<I32>([&](int row) {
        int32_t sum = offset == 0 ? 0 : -offset * sums[c];
        for (int k = 0; k < half; ++k) {
          const uint8_t byte = codes[64 * (k / 4) + 4 * row + k % 4];
          sum += (byte & 15) * x[c][k] + (byte >> 4) * x[c][half + k];
        }
        return sum;
      });
  }

  template <int columns, int lines, int>
  static void dot_table(const uint8_t* codes, const int8_t* const* x, const int32_t*,
                        const int8_t* table, I32* dot) {
    constexpr int half = 4 * lines;
    for (int c = 0; c < columns; ++c)
      dot[c] = each<I32>([&](int row) {
        int32_t sum = 0;
        for (int k = 0; k < half; ++k) {
          const uint8_t byte = codes[64 * (k / 4) + 4 * row + k % 4];
          sum += table[byte & 15] * x[c][k] + table[byte >> 4] * x[c][half + k];
        }
        return sum;
      });
  }

  template <int columns, int lines, int bits, int offset>
  static void dot_bytes(const uint8_t* codes, const int8_t* const* x, const int32_t* sums,
                        I32* dot) {
    for (int c = 0; c < columns; ++c)
      dot[c] = each<I32>([&](int row) {
        int32_t sum = -offset * sums[c];
        for (int k = 0; k < 4 * lines; ++k) sum += codes[64 * (k / 4) + 4 * row + k % 4] * x[c][k];
        return sum;
      });
  }
};

}  // namespace
}  // namespace assay::cpu
