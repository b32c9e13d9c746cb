#include "gpu/pack.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "kernel/weights.h"
#include "quant/formats.h"

namespace assay::gpu {

namespace {

template <class F>
uint64_t bytes_of_tile(uint64_t columns) {
  if constexpr (quant::is_float_format<F>) {
    return (columns + 3) / 4 * 4 * tile_rows * F::block_bytes;
  } else {
    const uint64_t whole = columns / chunk_columns, rest = columns % chunk_columns / quantum;
    return whole * packed_chunk_bytes<F>(chunk_columns / quantum) +
           (rest ? packed_chunk_bytes<F>(uint32_t(rest)) : 0);
  }
}

void put_u16(uint8_t* p, uint16_t value) {
  std::memcpy(p, &value, 2);
}

/// Code `code` of weight i (0 … 31) of a block into the planes of one row's block.
template <class F>
void put_code(uint8_t* low_plane, uint8_t* high_plane, uint32_t row, uint32_t i, uint32_t code) {
  using Layout = Packed<F>;
  const uint32_t h = i / 16, w = i % 16 / 4, byte = i % 4;
  if constexpr (Layout::low_bits == 8)
    low_plane[16 * (h * tile_rows + row) + 4 * w + byte] =
        uint8_t(int32_t(code) - int32_t(F::code_offset));
  else if constexpr (Layout::low_bits == 4)
    low_plane[16 * row + 4 * w + byte] |= uint8_t((code & 15) << (4 * h));
  else
    low_plane[8 * row + 4 * h + byte] |= uint8_t((code & 3) << (2 * w));
  if constexpr (Layout::high_bits == 1)
    high_plane[4 * row + byte] |= uint8_t(((code >> Layout::low_bits) & 1) << (w + 4 * h));
  else if constexpr (Layout::high_bits == 2)
    high_plane[8 * row + 4 * h + byte] |= uint8_t(((code >> Layout::low_bits) & 3) << (2 * w));
}

/// The scales of one row's chunk: its blocks begin at `blocks` in the file.
template <class F>
void put_scales(uint8_t* scales, uint32_t row, const uint8_t* blocks, uint32_t quanta) {
  using Layout = Packed<F>;
  if constexpr (Layout::super_block) {
    constexpr uint32_t groups = chunk_columns / F::group_size;
    for (uint32_t g = 0; g < groups; ++g) {
      scales[16 * row + g] = uint8_t(F::scale_code(blocks, g));
      if constexpr (F::has_minimum)
        scales[16 * row + g + (groups == 16 ? 16 * tile_rows : 8)] =
            uint8_t(F::minimum_code(blocks, g));
    }
    uint8_t* d = scales + tile_rows * 16 * Layout::scale_pieces + Layout::d_bytes * row;
    put_u16(d, F::scale_bits(blocks, 0));
    if constexpr (F::has_minimum) put_u16(d + 2, F::minimum_bits(blocks));
  } else {
    for (uint32_t i = 0; i < quanta * quantum; i += F::group_size) {
      const uint8_t* block = blocks + i / F::block_size * F::block_bytes;
      uint8_t* d = scales + Layout::d_bytes * (tile_rows * (i / quantum) + row);
      put_u16(d + i % quantum / 16 * 2, F::scale_bits(block, i % F::block_size / F::group_size));
      if constexpr (F::has_minimum) put_u16(d + 2, F::minimum_bits(block));
    }
  }
}

template <class F>
void pack_block_tile(const op::Weight& weight, uint64_t tile, uint8_t* out) {
  using Layout = Packed<F>;
  const uint64_t first = tile * tile_rows,
                 rows = std::min<uint64_t>(weight.rows - first, tile_rows);
  for (uint64_t column = 0; column < weight.columns; column += chunk_columns) {
    const auto quanta =
        uint32_t(std::min<uint64_t>(weight.columns - column, chunk_columns) / quantum);
    uint8_t* high = out + tile_rows * quanta * Layout::low_bytes;
    uint8_t* scales = high + tile_rows * quanta * Layout::high_bytes;
    for (uint32_t row = 0; row < rows; ++row) {
      const uint8_t* bytes =
          weight.row(first + row).data() + column / F::block_size * F::block_bytes;
      for (uint32_t i = 0; i < quanta * quantum; ++i) {
        const uint32_t code =
            F::code(bytes + i / F::block_size * F::block_bytes, i % F::block_size);
        const uint32_t q = i / quantum;
        put_code<F>(out + tile_rows * q * Layout::low_bytes,
                    high + tile_rows * q * Layout::high_bytes, row, i % quantum, code);
      }
      put_scales<F>(scales, row, bytes, quanta);
    }
    out += packed_chunk_bytes<F>(quanta);
  }
}

template <class F>
void pack_float_tile(const op::Weight& weight, uint64_t tile, uint8_t* out) {
  const uint64_t first = tile * tile_rows,
                 rows = std::min<uint64_t>(weight.rows - first, tile_rows);
  for (uint64_t row = 0; row < rows; ++row) {
    const uint8_t* from = weight.row(first + row).data();
    for (uint64_t column = 0; column < weight.columns; ++column)
      std::memcpy(out + ((column / 4 * tile_rows + row) * 4 + column % 4) * F::block_bytes,
                  from + column * F::block_bytes, F::block_bytes);
  }
}

op::Weight expert_of(const op::Weight& weight, uint32_t experts, uint64_t expert) {
  const uint64_t bytes = weight.data.size() / experts;
  return {{},
          weight.type,
          weight.rows / experts,
          weight.columns,
          weight.data.subspan(expert * bytes, bytes)};
}

}  // namespace

uint64_t tile_count(const op::Weight& weight, uint32_t experts) {
  return experts * ((weight.rows / experts + tile_rows - 1) / tile_rows);
}

uint64_t tile_bytes(const op::Weight& weight) {
  uint64_t bytes = 0;
  quant::visit(weight.type, [&]<class F>() { bytes = bytes_of_tile<F>(weight.columns); });
  return bytes;
}

void pack_tiles(const op::Weight& weight, uint64_t first, uint64_t last, std::span<uint8_t> out,
                uint32_t experts) {
  const uint64_t tiles = tile_count(weight, experts) / experts;  // of an expert
  const uint64_t bytes = tile_bytes(weight);
  assert(out.size() == (last - first) * bytes);
  std::memset(out.data(), 0, out.size());
  quant::visit(weight.type, [&]<class F>() {
    for (uint64_t tile = first; tile < last; ++tile) {
      uint8_t* to = out.data() + (tile - first) * bytes;
      const op::Weight expert = expert_of(weight, experts, tile / tiles);
      if constexpr (quant::is_float_format<F>)
        pack_float_tile<F>(expert, tile % tiles, to);
      else
        pack_block_tile<F>(expert, tile % tiles, to);
    }
  });
}

}  // namespace assay::gpu
