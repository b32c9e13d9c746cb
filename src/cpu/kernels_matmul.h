// Weights × activations over panels of 16 rows: lanes are rows, each walks its own chain of sums in
// the order of the contract. Included once for each instruction set.
#pragma once

#include <cstdint>

#include "cpu/kernels.h"
#include "cpu/panel.h"
#include "lang/math.h"

namespace assay::cpu {
namespace {

/// The largest |value| of a table format.
template <class F>
inline constexpr int largest_value = [] {
  int largest = 0;
  for (const int value : quant::values_of<F>.of) {
    const int size = value < 0 ? -value : value;
    if (size > largest) largest = size;
  }
  return largest;
}();

/// Scale and minimum of a group's 16 rows, as the format's products make them: exact in f32.
template <class S, class F>
struct GroupScales {
  typename S::F32 scale, minimum;

  GroupScales(const uint8_t* scales, const uint8_t* block) {
    if constexpr (PanelLayout<F>::super_blocks) {
      const auto* d = reinterpret_cast<const uint16_t*>(block);
      if constexpr (F::has_minimum) {
        scale = S::mul(S::load_f16(d), S::load_u8(scales));
        minimum = S::mul(S::load_f16(d + panel_rows), S::load_u8(scales + panel_rows));
        if constexpr (F::minimum_sign < 0) minimum = S::negate(minimum);
      } else {
        scale = S::mul(S::load_f16(d), S::load_i8(scales));
      }
      if constexpr (F::scale_unit != 1.0f) scale = S::mul(scale, S::set(F::scale_unit));
    } else {
      const auto* bits = reinterpret_cast<const uint16_t*>(scales);
      if constexpr (F::scale_is_bf16)
        scale = S::load_bf16(bits);
      else
        scale = S::load_f16(bits);
      if constexpr (F::has_minimum) minimum = S::load_f16(bits + panel_rows);
    }
  }
};

/// Walks a panel's groups in order of k: visit(k, codes, scales, block).
template <class F, class Visit>
void each_group(const uint8_t* panel, uint64_t columns, Visit visit) {
  using Layout = PanelLayout<F>;
  for (uint64_t k = 0; k < columns;) {
    const uint8_t* block = panel;
    panel += Layout::block_bytes;
    for (uint32_t group = 0; group < Layout::groups_per_block; ++group) {
      __builtin_prefetch(panel + 2048);
      visit(k, panel, panel + Layout::code_bytes, block);
      panel += Layout::group_bytes;
      k += F::group_size;
    }
  }
}

template <class S>
void store_rows(typename S::F32 total, const float* bias, uint64_t row, uint64_t rows, float* y) {
  float lanes[panel_rows];
  const uint64_t valid = rows - row < panel_rows ? rows - row : panel_rows;
  if (valid == panel_rows) {
    S::store(y + row, bias ? S::add(total, S::load(bias + row)) : total);
    return;
  }
  S::store(lanes, total);
  for (uint64_t i = 0; i < valid; ++i) y[row + i] = bias ? lanes[i] + bias[row + i] : lanes[i];
}

/// dot[c] = Σ value·x over the codes of a group; sums[c] = Σ x.
template <class S, class F, int count>
void group_dots(const uint8_t* codes, const int8_t* const* x, const int32_t* sums,
                typename S::I32* dot) {
  if constexpr (F::has_table)
    S::template dot_table<count, F::group_size / 8, largest_value<F>>(codes, x, sums,
                                                                      quant::values_of<F>.of, dot);
  else if constexpr (PanelLayout<F>::nibbles)
    S::template dot_nibbles<count, F::group_size / 8, F::code_offset>(codes, x, sums, dot);
  else
    S::template dot_bytes<count, F::group_size / 4, F::code_bits, F::code_offset>(codes, x, sums,
                                                                                  dot);
}

/// total = Σ chunks, chunk v = Σ groups in order: t = RN(dot·scale), v = fma(t, d, v), v =
/// fma(minimum, RN(d·Σ), v), of fine scales v = flush(v). Groups are of 32 activations, or of 16
/// that share a d with the next.
template <class S, class F, int count>
void panel_quantised(const uint8_t* panel, uint64_t columns, const QuantisedRow* x,
                     typename S::F32* total) {
  typename S::F32 v[count];
  for (int c = 0; c < count; ++c) total[c] = v[c] = S::zero();
  each_group<F>(panel, columns,
                [&](uint64_t k, const uint8_t* codes, const uint8_t* scales, const uint8_t* block) {
                  const int8_t* xs[count];
                  for (int c = 0; c < count; ++c) xs[c] = x[c].codes + k;
                  typename S::I32 dot[count];
                  int32_t sums[count];  // Σ of the group's activation codes
                  for (int c = 0; c < count; ++c) {
                    sums[c] = x[c].half_sums[k / 16];
                    if constexpr (F::group_size == 32) sums[c] += x[c].half_sums[k / 16 + 1];
                  }
                  group_dots<S, F, count>(codes, xs, sums, dot);
                  const GroupScales<S, F> group(scales, block);
                  for (int c = 0; c < count; ++c) {
                    v[c] = S::fma(S::mul(S::to_float(dot[c]), group.scale),
                                  S::set(x[c].scale[k / quantum]), v[c]);
                    if constexpr (F::has_minimum) {
                      const float scaled_sum = F::group_size == quantum
                                                   ? x[c].scaled_sum[k / quantum]
                                                   : x[c].scale[k / quantum] * float(sums[c]);
                      v[c] = S::fma(group.minimum, S::set(scaled_sum), v[c]);
                    }
                    if constexpr (quant::has_fine_scales<F>)
                      v[c] = S::floor_tiny(v[c], k_flush_limit);
                  }
                  const uint64_t end = k + F::group_size;
                  if (end % sum_chunk == 0 || end == columns)
                    for (int c = 0; c < count; ++c) {
                      total[c] = S::add(total[c], v[c]);
                      v[c] = S::zero();
                    }
                });
}

/// total = Σ chunks, chunk v = fma(w[k], x[k], v) in order of k; w decoded as quant::decode does.
template <class S, class F, int count>
void panel_f32(const uint8_t* panel, uint64_t columns, const float* const* x,
               typename S::F32* total) {
  typename S::F32 v[count];
  for (int c = 0; c < count; ++c) total[c] = v[c] = S::zero();
  const auto step = [&](uint64_t k, typename S::F32 w) {
    for (int c = 0; c < count; ++c) v[c] = S::fma(w, S::set(x[c][k]), v[c]);
    if ((k + 1) % sum_chunk == 0 || k + 1 == columns)
      for (int c = 0; c < count; ++c) {
        total[c] = S::add(total[c], v[c]);
        v[c] = S::zero();
      }
  };
  if constexpr (quant::is_float_format<F>) {
    for (uint64_t k = 0; k < columns; ++k, panel += PanelLayout<F>::group_bytes) {
      if constexpr (F::id == quant::F16::id)
        step(k, S::load_f16(reinterpret_cast<const uint16_t*>(panel)));
      else if constexpr (F::id == quant::BF16::id)
        step(k, S::load_bf16(reinterpret_cast<const uint16_t*>(panel)));
      else
        step(k, S::load(reinterpret_cast<const float*>(panel)));
    }
  } else {
    using Layout = PanelLayout<F>;
    each_group<F>(
        panel, columns,
        [&](uint64_t k, const uint8_t* codes, const uint8_t* scales, const uint8_t* block) {
          const GroupScales<S, F> group(scales, block);
          constexpr uint32_t low = Layout::nibbles ? F::group_size / 2 : F::group_size;
          constexpr int mask = Layout::nibbles ? 15 : 255;
          for (uint32_t j = 0; j < F::group_size; ++j) {
            const int shift = int(8 * (j % 4) + (j >= low ? 4 : 0));
            const uint8_t* line = codes + 64 * ((j % low) / 4);
            typename S::F32 value;
            if constexpr (F::has_table)
              value = S::table_lanes(line, shift, quant::values_of<F>.of);
            else
              value = S::code_lanes(line, shift, mask);
            if constexpr (F::code_offset != 0) value = S::sub(value, S::set(float(F::code_offset)));
            if constexpr (F::has_minimum)
              step(k + j, S::fma(group.scale, value, group.minimum));
            else
              step(k + j, S::mul(group.scale, value));
          }
        });
  }
}

/// Columns of activations that a tile holds in registers: on AVX-512 as fast as six
/// (docs/benchmarks.md).
inline constexpr uint32_t tile_columns = 4;

/// Tiles of four columns, then two, then one, over panels [first, last).
template <class Tile>
void column_tiles(uint32_t count, uint64_t first, uint64_t last, Tile tile) {
  // Activations of at most this many columns stay in cache while the panels pass.
  constexpr uint32_t block = 16 * tile_columns;
  for (uint32_t start = 0; start < count; start += block) {
    const uint32_t end = start + block < count ? start + block : count;
    for (uint64_t panel = first; panel < last; ++panel) {
      uint32_t c = start;
      for (; c + 4 <= end; c += 4) tile.template operator()<4>(panel, c);
      if (c + 2 <= end) {
        tile.template operator()<2>(panel, c);
        c += 2;
      }
      if (c < end) tile.template operator()<1>(panel, c);
    }
  }
}

template <class S>
void matmul(uint32_t format, const uint8_t* panels, uint64_t panel_bytes, uint64_t rows,
            uint64_t columns, uint64_t first, uint64_t last, const QuantisedRow* x, uint32_t count,
            const float* bias, float* const* y) {
  quant::visit(format, [&]<class F>() {
    if constexpr (!quant::is_float_format<F>)
      column_tiles(count, first, last, [&]<int tile>(uint64_t panel, uint32_t c) {
        typename S::F32 total[tile];
        panel_quantised<S, F, tile>(panels + panel * panel_bytes, columns, x + c, total);
        for (int i = 0; i < tile; ++i)
          store_rows<S>(total[i], bias, panel * panel_rows, rows, y[c + i]);
      });
  });
}

template <class S>
void matmul_f32(uint32_t format, const uint8_t* panels, uint64_t panel_bytes, uint64_t rows,
                uint64_t columns, uint64_t first, uint64_t last, const float* const* x,
                uint32_t count, const float* bias, float* const* y) {
  quant::visit(format, [&]<class F>() {
    column_tiles(count, first, last, [&]<int tile>(uint64_t panel, uint32_t c) {
      typename S::F32 total[tile];
      panel_f32<S, F, tile>(panels + panel * panel_bytes, columns, x + c, total);
      for (int i = 0; i < tile; ++i)
        store_rows<S>(total[i], bias, panel * panel_rows, rows, y[c + i]);
    });
  });
}

}  // namespace
}  // namespace assay::cpu
