// The words of the kernel language, as plain C++ on the host. Formats and numeric functions are
// written in it, so that one source serves the CPU, the emulated grid, CUDA and Metal.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#define K_DEV     // address space: device memory
#define K_CONST   // address space: constant memory
#define K_GROUP   // address space: memory shared by a group
#define K_THREAD  // address space: a thread's own memory
// A device function. Internal linkage: files compiled for different instruction sets must not share
// one copy.
#define K_FN static inline
#define K_TABLE inline constexpr  // a program-scope constant

namespace assay {

/// RN(a·b + c), one rounding.
K_FN float k_fma(float a, float b, float c) {
  return __builtin_fmaf(a, b, c);
}
K_FN float k_div(float a, float b) {
  return a / b;
}
K_FN float k_sqrt(float x) {
  return __builtin_sqrtf(x);
}
K_FN uint32_t k_bits(float x) {
  return std::bit_cast<uint32_t>(x);
}
K_FN float k_float(uint32_t bits) {
  return std::bit_cast<float>(bits);
}

/// IEEE binary16 bits to f32, exact; subnormals and NaN payloads kept (NaN made quiet).
K_FN float k_f16_to_f32(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t mantissa = half & 0x3ffu;
  if (exponent == 31)
    return k_float(sign | 0x7f800000u | (mantissa << 13) | (mantissa ? 0x400000u : 0u));
  if (exponent != 0) return k_float(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  // Subnormal: mantissa·2^-24; the product with a power of two is exact.
  const float magnitude = float(mantissa) * 0x1p-24f;
  return k_float(sign | k_bits(magnitude));
}

/// f32 to IEEE binary16 bits, round to nearest even; overflow gives infinity, NaN gives a quiet
/// NaN.
K_FN uint16_t k_f32_to_f16(float value) {
  const uint32_t bits = k_bits(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return uint16_t(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x477ff000u) return uint16_t(sign | 0x7c00u);  // 65520 and above
  if (magnitude >= 0x38800000u) {                                 // normal in f16: 2^-14 and above
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return uint16_t(sign | ((rounded - 0x38000000u) >> 13));
  }
  if (magnitude < 0x33000000u)
    return uint16_t(sign);                    // below 2^-25: zero (2^-25 itself ties to zero)
  const uint32_t exponent = magnitude >> 23;  // 102 … 112
  const uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  const uint32_t shift = 126u - exponent;  // value = mantissa·2^(exponent-150), unit 2^-24
  const uint32_t half_unit = 1u << (shift - 1u);
  const uint32_t quotient = mantissa >> shift;
  const uint32_t remainder = mantissa & ((1u << shift) - 1u);
  const uint32_t up =
      (remainder > half_unit || (remainder == half_unit && (quotient & 1u))) ? 1u : 0u;
  return uint16_t(sign | (quotient + up));
}

/// Little-endian 16 bits at any alignment.
K_FN uint16_t k_load_u16(K_DEV const uint8_t* p) {
  return uint16_t(p[0] | (p[1] << 8));
}

}  // namespace assay
