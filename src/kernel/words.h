// What kernels share: collectives made of shuffles, activation codes.
#pragma once

#include "kernel/args.h"
#include "lang/math.h"

namespace assay {

/// For kernels whose groups share nothing.
struct NoShared {
  uint32_t unused;
};

K_FN float shuffle_from_f32(float value, uint32_t lane) {
  return k_float(shuffle_from(k_bits(value), lane));
}

/// The sum over the 32 lanes by the xor tree 16, 8, 4, 2, 1: the same bits in each lane.
K_FN float simd_sum_ordered(float x) {
  for (uint32_t mask = 16u; mask >= 1u; mask /= 2u) x = x + k_float(shuffle_xor(k_bits(x), mask));
  return x;
}
K_FN int32_t simd_sum_exact(int32_t x, uint32_t first_mask) {
  for (uint32_t mask = first_mask; mask >= 1u; mask /= 2u)
    x = x + int32_t(shuffle_xor(uint32_t(x), mask));
  return x;
}
K_FN uint32_t simd_max_bits(uint32_t x) {
  for (uint32_t mask = 16u; mask >= 1u; mask /= 2u) {
    const uint32_t other = shuffle_xor(x, mask);
    x = other > x ? other : x;
  }
  return x;
}
K_FN float simd_max_ordered(float x) {
  for (uint32_t mask = 16u; mask >= 1u; mask /= 2u) {
    const float other = k_float(shuffle_xor(k_bits(x), mask));
    x = other > x ? other : x;
  }
  return x;
}

/// The sum over the lanes up to and with this one.
K_FN uint64_t simd_sum_to(uint64_t x, uint32_t lane) {
  for (uint32_t step = 1u; step < lanes; step *= 2u) {
    const uint32_t from = lane >= step ? lane - step : lane;
    const uint64_t low = shuffle_from(uint32_t(x), from);
    const uint64_t high = shuffle_from(uint32_t(x >> 32), from);
    if (lane >= step) x += (high << 32) | low;
  }
  return x;
}
K_FN uint64_t last_lanes(uint64_t x) {
  const uint64_t low = shuffle_from(uint32_t(x), lanes - 1u);
  const uint64_t high = shuffle_from(uint32_t(x >> 32), lanes - 1u);
  return (high << 32) | low;
}

/// Rule 1 for the 32 activations that a simd's lanes hold, block `block` of `y`: d = max|x|/127,
/// code = rne(x·(127/max|x|)); zeros below 2^-72; d = NaN where a value is not finite. Every lane
/// of the simd takes part; those of a simd with `write` 0 store nothing.
K_FN void quantise_lanes(float x, Quantised y, uint32_t block, uint32_t lane, bool write) {
  const uint32_t bits = simd_max_bits(k_bits(x) & 0x7fffffffu);
  const float largest = k_float(bits);
  float d = 0.0f;
  int32_t code = 0;
  if (bits >= 0x7f800000u) {
    d = k_float(0x7fc00000u);
  } else if (largest >= k_floor_limit) {
    d = k_div(largest, 127.0f);
    code = k_round(x * k_div(127.0f, largest));
  }
  // Four lanes make a word: bytes are gathered by two exchanges.
  uint32_t word = (uint32_t(code) & 255u) << (8u * (lane % 4u));
  word |= shuffle_xor(word, 1u);
  word |= shuffle_xor(word, 2u);
  const int32_t sum = simd_sum_exact(code, 8u);  // of the lane's half
  const uint32_t other = shuffle_xor(uint32_t(sum), 16u);
  if (!write) return;
  if (lane % 4u == 0u) y.codes[block * 8u + lane / 4u] = word;
  if (lane == 0u) {
    y.scale[block] = d;
    y.sums[block] = (uint32_t(sum) & 0xffffu) | (other << 16);
  }
}

/// The two half sums of a quantised block.
K_FN int32_t low_sum(uint32_t sums) {
  return int32_t(int16_t(sums & 0xffffu));
}
K_FN int32_t high_sum(uint32_t sums) {
  return int32_t(int16_t(sums >> 16));
}

}  // namespace assay
