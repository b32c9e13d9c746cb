// How a token is drawn from the best logits: the arithmetic that host and kernels share. Weights
// are whole numbers, so that their sums are exact in any order, and no device needs double
// (docs/numbers.md, "Drawing a token").
#pragma once

#include "lang/math.h"

namespace assay {

/// 128 random bits.
struct Random4 {
  uint32_t word[4];
};
/// Philox4x32-10 of a counter and a key (low, high). Source: Salmon et al., "Parallel random
/// numbers: as easy as 1, 2, 3", SC 2011.
K_FN Random4 philox4x32_10(Random4 counter, uint32_t key_low, uint32_t key_high) {
  for (uint32_t round = 0u; round < 10u; ++round) {
    const uint64_t a = uint64_t(0xd2511f53u) * counter.word[0];
    const uint64_t b = uint64_t(0xcd9e8d57u) * counter.word[2];
    const Random4 next = {{uint32_t(b >> 32) ^ counter.word[1] ^ key_low, uint32_t(b),
                           uint32_t(a >> 32) ^ counter.word[3] ^ key_high, uint32_t(a)}};
    counter = next;
    key_low += 0x9e3779b9u;
    key_high += 0xbb67ae85u;
  }
  return counter;
}
/// The 64 bits that draw the token of `position`: the first two words, the first one high.
K_FN uint64_t random_bits(uint64_t seed, uint64_t position) {
  const Random4 counter = {{uint32_t(position), uint32_t(position >> 32), 0u, 0u}};
  const Random4 random = philox4x32_10(counter, uint32_t(seed), uint32_t(seed >> 32));
  return (uint64_t(random.word[0]) << 32) | uint64_t(random.word[1]);
}

/// ⌊a·b / 2^64⌋.
K_FN uint64_t high_product(uint64_t a, uint64_t b) {
  const uint64_t a0 = a & 0xffffffffu, a1 = a >> 32, b0 = b & 0xffffffffu, b1 = b >> 32;
  const uint64_t low = a0 * b0, left = a1 * b0 + (low >> 32),
                 right = a0 * b1 + (left & 0xffffffffu);
  return a1 * b1 + (left >> 32) + (right >> 32);
}

/// e^((logit − highest) / temperature), 1 where they are equal: two infinities too.
K_FN float share_of_best(float logit, float highest, float temperature) {
  return logit == highest ? 1.0f : k_exp(k_div(logit - highest, temperature));
}
/// A share in whole 2^-40, rounded down: 2^18 of them sum to 2^58 at most.
K_FN uint64_t weight_of_share(float share) {
  const uint32_t bits = k_bits(share), exponent = bits >> 23;  // not negative
  if (exponent < 87u) return 0u;                               // below 2^-40
  const uint64_t mantissa = (bits & 0x7fffffu) | 0x800000u;  // share = mantissa·2^(exponent−150)
  return exponent >= 110u ? mantissa << (exponent - 110u) : mantissa >> (110u - exponent);
}
/// The least weight that top-p wants of a sum; p < 1, in whole 2^-24, rounded down.
K_FN uint64_t top_p_of(uint64_t total, float p) {
  return high_product(total, uint64_t(uint32_t(p > 0.0f ? p * 16777216.0f : 0.0f)) << 40);
}

}  // namespace assay
