// The kernel language: a small C++14 that is Metal Shading Language, CUDA C++ and plain C++ at
// once. A device's words stand in lang_metal.h, lang_cuda.h and lang_emulated.h (the host's too);
// what is made of them, for all devices, stands here. Rules: docs/kernels.md.
#pragma once

#if defined(__METAL_VERSION__)
#include "lang/lang_metal.h"
#elif defined(__CUDACC__)
#include "lang/lang_cuda.h"
#else
#include "lang/lang_emulated.h"
#endif

namespace assay {

/// The threads of a kernel's groups, a multiple of 32.
template <uint32_t n, bool all, bool starts_early>
struct GroupThreads {
  static_assert(n > 0u && n % 32u == 0u && n <= 1024u, "the threads of a group");
  K_TABLE uint32_t most_threads = n;
  K_TABLE bool exactly = all;         // every launch has groups of most_threads
  K_TABLE bool early = starts_early;  // may begin while the launch before it runs (await_inputs)
};
/// As many as the launch says, up to n: fewer threads leave more registers to each.
template <uint32_t n>
using AtMost = GroupThreads<n, false, false>;
template <uint32_t n>
using Exactly = GroupThreads<n, true, false>;
/// At most n, of a kernel that calls await_inputs() itself.
template <uint32_t n>
using EarlyAtMost = GroupThreads<n, false, true>;

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

K_FN float k_bf16_to_f32(uint16_t bits) {
  return k_float(uint32_t(bits) << 16);
}

/// Little-endian 16 bits at any alignment.
K_FN uint16_t k_load_u16(K_DEV const uint8_t* p) {
  return uint16_t(p[0] | (p[1] << 8));
}

}  // namespace assay
