// Two candidate chains for Q4_K, in plain code: what the tiles of chains_tile.h must give, bit for
// bit. Per row of W and per chunk of 256 columns (one block, groups j = 0 … 7), v = +0, then
//   A    for each j:  t = RN(float(dot_j)·(d·sc_j));  v = fma(t, dx_j, v);  v = fma(−(dmin·m_j),
//   s_j, v) A2   for each j:  t = RN(float(dot_j)·(d·sc_j));  v = fma(t, dx_j, v)
//        then once:   I = Σ_j m_j·S_j, exact;  v = fma(−RN(dmin·DX), float(I), v)
// and total = RN(total + v). Of the activations: s_j = RN(dx_j·float(Σ codes)), and for A2, once a
// chunk, M = max_j |s_j|, DX = RN(M/16256), S_j = rne(RN(s_j·RN(16256/M))); M < 2^-65: DX = S = 0.
// |S_j| <= 16256 = 127·128 fits 16 bits, and |I| <= 8·63·16256 < 2^24, so float(I) is exact. Below
// 2^-65 a product dmin·DX could have bits under 2^-126, and a sum could become denormal.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "cpu/kernels.h"
#include "quant/formats.h"

namespace assay::bench {

using Format = quant::Q4_K;
inline constexpr uint32_t chunk = cpu::sum_chunk, groups = chunk / cpu::quantum;
static_assert(Format::block_size == chunk && Format::group_size == cpu::quantum);

enum class Chain { a, a2 };

/// What a tile reads of one row of activations.
struct Row {
  cpu::QuantisedRow quantised;
  const float* minimum_scale;    // (columns / 256): DX
  const int32_t* minimum_pairs;  // (columns / 64): S_2p in the low 16 bits, S_2p+1 in the high 16
};

/// `count` rows of activations, quantised for both chains.
struct Activations {
  std::vector<int8_t> codes;
  std::vector<float> scale, scaled_sum, minimum_scale;
  std::vector<int32_t> half_sums, minimum_codes, minimum_pairs;
  std::vector<Row> rows;
};

/// DX and S_j of one chunk from its eight s_j.
inline float quantise_sums(const float* s, int32_t* codes) {
  float largest = 0;
  for (uint32_t j = 0; j < groups; ++j) largest = std::max(largest, std::fabs(s[j]));
  const bool tiny = largest < 0x1p-65f;
  const float inverse = tiny ? 0.0f : 16256.0f / largest;
  for (uint32_t j = 0; j < groups; ++j) codes[j] = int32_t(std::nearbyint(s[j] * inverse));
  return tiny ? 0.0f : largest / 16256.0f;
}

/// x: (count, columns), columns a multiple of 256.
inline Activations quantise(std::span<const float> x, uint64_t columns) {
  const uint64_t count = x.size() / columns, quanta = x.size() / cpu::quantum;
  Activations a;
  a.codes.resize(x.size());
  a.half_sums.resize(2 * quanta);
  for (auto* values : {&a.scale, &a.scaled_sum}) values->resize(quanta);
  for (auto* values : {&a.minimum_codes, &a.minimum_pairs}) values->resize(quanta);
  a.minimum_scale.resize(x.size() / chunk);
  const cpu::QuantisedRow all{a.codes.data(), a.scale.data(), a.scaled_sum.data(),
                              a.half_sums.data()};
  cpu::find_kernels("portable")->quantise(x.data(), x.size(), all);
  for (uint64_t i = 0; i < a.minimum_scale.size(); ++i)
    a.minimum_scale[i] = quantise_sums(&a.scaled_sum[groups * i], &a.minimum_codes[groups * i]);
  for (uint64_t p = 0; p < quanta / 2; ++p)
    a.minimum_pairs[p] = int32_t(uint32_t(a.minimum_codes[2 * p] & 0xffff) |
                                 (uint32_t(a.minimum_codes[2 * p + 1]) << 16));
  for (uint64_t r = 0; r < count; ++r) {
    const uint64_t k = r * columns, q = k / cpu::quantum;
    a.rows.push_back({{&a.codes[k], &a.scale[q], &a.scaled_sum[q], &a.half_sums[2 * q]},
                      &a.minimum_scale[k / chunk],
                      &a.minimum_pairs[q / 2]});
  }
  return a;
}

/// A row of W with its codes unpacked, so that many rows of activations can meet it.
struct WeightRow {
  std::vector<uint8_t> codes;        // (columns)
  std::vector<float> scale;          // (columns / 32): d·sc
  std::vector<float> block_minimum;  // (columns / 256): dmin
  std::vector<int32_t> minimum;      // (columns / 32): m
};

inline WeightRow unpack(const uint8_t* bytes, uint64_t columns) {
  WeightRow row;
  for (uint64_t b = 0; b < columns / chunk; ++b, bytes += Format::block_bytes) {
    row.block_minimum.push_back(k_f16_to_f32(Format::minimum_bits(bytes)));
    for (uint32_t g = 0; g < groups; ++g) {
      row.scale.push_back(Format::scale(bytes, g));
      row.minimum.push_back(Format::minimum_code(bytes, g));
    }
    for (uint32_t i = 0; i < chunk; ++i) row.codes.push_back(uint8_t(Format::code(bytes, i)));
  }
  return row;
}

/// dot_j of every group.
inline void dots(const WeightRow& w, const int8_t* x, std::vector<int32_t>& dot) {
  dot.resize(w.scale.size());
  for (size_t j = 0; j < dot.size(); ++j) {
    int32_t sum = 0;
    for (uint32_t i = 0; i < 32; ++i) sum += int32_t(w.codes[32 * j + i]) * x[32 * j + i];
    dot[j] = sum;
  }
}

/// The two chains over the same dots: {A, A2}.
inline std::array<float, 2> restate(const WeightRow& w, const Row& x,
                                    const std::vector<int32_t>& dot) {
  float total_a = 0, total_a2 = 0;
  for (size_t b = 0; b < w.block_minimum.size(); ++b) {
    float a = 0, a2 = 0;
    int32_t products = 0;
    for (size_t j = groups * b; j < groups * (b + 1); ++j) {
      const float t = float(dot[j]) * w.scale[j],
                  minimum = w.block_minimum[b] * float(w.minimum[j]);
      a = k_fma(t, x.quantised.scale[j], a);
      a = k_fma(-minimum, x.quantised.scaled_sum[j], a);
      a2 = k_fma(t, x.quantised.scale[j], a2);
      const int32_t pair = x.minimum_pairs[j / 2];
      products += w.minimum[j] * (j % 2 ? pair >> 16 : int32_t(int16_t(pair & 0xffff)));
    }
    total_a += a;
    total_a2 += k_fma(-(w.block_minimum[b] * x.minimum_scale[b]), float(products), a2);
  }
  return {total_a, total_a2};
}

}  // namespace assay::bench
