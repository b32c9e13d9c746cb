// Questions to a device's arithmetic: what the contract needs of f32, and compilers like to change.
#pragma once

#include "lang/lang.h"

namespace assay {

K_TABLE uint32_t probe_questions = 9;

/// Bits of a result; every NaN as the same one.
K_FN uint32_t probe_bits(float x) {
  const uint32_t bits = k_bits(x);
  return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits;
}

/// The bits that `question` has as its answer for three numbers.
K_FN uint32_t probe_answer(uint32_t question, float a, float b, float c) {
  if (question == 0u) return probe_bits((a + b) - a);  // b, where sums are rearranged
  if (question == 1u) return probe_bits(a * b + c);    // one rounding, where it is contracted
  if (question == 2u) return probe_bits(k_fma(a, b, c));
  if (question == 3u) return probe_bits(k_div(a, b));
  if (question == 4u) return probe_bits(k_div(1.0f, b));
  if (question == 5u) return probe_bits(k_sqrt(c));
  if (question == 6u) return k_f32_to_f16(a);
  if (question == 7u) return probe_bits(k_f16_to_f32(uint16_t(k_bits(a) & 0xffffu)));
  return a == a && c - c == 0.0f ? 1u : 0u;  // 1, where there is no NaN or infinity
}

}  // namespace assay
