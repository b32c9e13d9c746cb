// Kernels over every word of the kernel language, compiled for the emulated grid and for CUDA. Each
// writes whole words; floats as their bits, any NaN as one.
#pragma once

#include "kernel/words.h"
#include "lang/activation.h"
#include "lang/lang_entries.h"

namespace assay {

/// x, y, z: `count` words of any bits. out: (count, 32) words.
struct WordsArgs {
  K_DEV const uint32_t* x;
  K_DEV const uint32_t* y;
  K_DEV const uint32_t* z;
  K_DEV uint32_t* out;
  uint32_t count, unused;
};

struct WordsShared {
  uint32_t values[256];
};

K_FN uint32_t any_nan(float x) {
  return x == x ? k_bits(x) : 0x7fc00000u;
}

}  // namespace assay

K_KERNEL(words_arithmetic, assay::WordsArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t i = t.group_x * t.group_size + t.index;
  if (i >= a.count) return;
  const float x = assay::k_float(a.x[i]), y = assay::k_float(a.y[i]), z = assay::k_float(a.z[i]);
  const uint32_t bits = a.x[i];
  K_DEV uint32_t* out = a.out + uint64_t(i) * 32u;
  out[0] = assay::any_nan(x + y);
  out[1] = assay::any_nan(x - y);
  out[2] = assay::any_nan(x * y);
  out[3] = assay::any_nan(x * y + z);  // two roundings
  out[4] = assay::any_nan(z - x * y);
  out[5] = assay::any_nan(assay::k_fma(x, y, z));  // one
  out[6] = assay::any_nan(assay::k_div(x, y));
  out[7] = assay::any_nan(assay::k_div(1.0f, y));
  out[8] = assay::any_nan(assay::k_sqrt(x));
  out[9] = assay::any_nan(assay::k_exp(x));
  out[10] = assay::any_nan(assay::k_silu(x));
  out[11] = assay::any_nan(assay::k_f16_to_f32(uint16_t(bits)));
  out[12] = assay::k_f32_to_f16(z);
  out[13] = assay::any_nan(assay::k_bf16_to_f32(uint16_t(bits)));
  out[14] = assay::any_nan(float(int32_t(bits)));
  out[15] = assay::any_nan(float(bits));
  out[16] = uint32_t(assay::k_round(float(int32_t(bits) >> 10) * 0.5f));  // halves: ties
  out[17] = uint32_t(assay::k_dot4_i8(a.x[i], a.y[i], int32_t(a.z[i] >> 8)));
  out[18] = assay::any_nan(assay::k_floor_tiny(x));
  out[19] = (x < y ? 1u : 0u) | (x > y ? 2u : 0u) | (x == y ? 4u : 0u) | (x <= y ? 8u : 0u);
  out[20] = assay::any_nan(-x);
  out[21] = assay::k_pick_bytes(a.x[i], a.y[i], a.z[i]);
  out[22] = assay::any_nan(assay::k_flush(x));
  for (uint32_t k = 23u; k < 32u; ++k) out[k] = 0u;
}

/// One group of `count` threads.
K_KERNEL(words_exchange, assay::WordsArgs, assay::WordsShared, assay::AtMost<256>) {
  const uint32_t mine = a.x[t.index];
  K_DEV uint32_t* out = a.out + uint64_t(t.index) * 32u;
  out[0] = t.group_x | (t.group_y << 8) | (t.lane << 16) | (t.simd << 24);
  out[1] = t.index | (t.group_size << 16);
  out[2] = assay::shuffle_from(mine, a.y[t.index] % 32u);
  for (uint32_t k = 0u; k < 5u; ++k) out[3u + k] = assay::shuffle_xor(mine, 1u << k);
  const float small = float(int32_t(mine) >> 8);
  out[8] = assay::k_bits(assay::simd_sum_ordered(small * 1.1f));
  out[9] = assay::k_bits(assay::simd_max_ordered(small));
  out[10] = uint32_t(assay::simd_sum_exact(int32_t(mine) >> 8, 16u));
  s.values[t.index] = mine;
  assay::barrier_group();
  out[11] = s.values[(t.index + 33u) % t.group_size];
  assay::barrier_group();
  s.values[t.group_size - 1u - t.index] = mine;
  assay::barrier_group();
  out[12] = s.values[t.index];
  const assay::Words4 four = assay::load4(a.z + 4u * (t.index / 4u));
  const assay::Words4 turned = {four.w, four.z, four.y, four.x};
  assay::store4(out + 16u, turned);
  for (uint32_t k = 13u; k < 16u; ++k) out[k] = 0u;
  for (uint32_t k = 20u; k < 32u; ++k) out[k] = 0u;
}

/// Groups of one simd: y (16 rows, 8 words) by x (8 columns, 8 words), all int8.
K_KERNEL(words_tiles, assay::WordsArgs, assay::WordsShared, assay::AtMost<256>) {
  K_DEV const uint32_t* w = a.y + 128u * t.group_x;
  for (uint32_t i = t.lane; i < 64u; i += 32u)
    s.values[i / 8u * 12u + i % 8u] = a.x[64u * t.group_x + i];  // columns 12 words apart
  assay::barrier_group();
  const uint32_t row = assay::tile_row(t.lane), slot = assay::tile_slot(t.lane);
  const assay::TileSums whole =
      assay::tile_mma_32(w[row * 8u + slot], w[(row + 8u) * 8u + slot], w[row * 8u + slot + 4u],
                         w[(row + 8u) * 8u + slot + 4u], s.values, 12u, t.lane);
  const assay::TileSums half_sums = assay::tile_mma_16(
      w[row * 8u + slot + 4u], w[(row + 8u) * 8u + slot + 4u], s.values + 4u, 12u, t.lane);
  K_DEV uint32_t* out = a.out + (uint64_t(t.group_x) * 32u + t.lane) * 32u;
  K_UNROLL
  for (uint32_t e = 0u; e < 4u; ++e) {
    out[e] = assay::k_bits(whole.sum[e]);
    out[4u + e] = assay::k_bits(half_sums.sum[e]);
  }
  for (uint32_t k = 8u; k < 32u; ++k) out[k] = 0u;
}
