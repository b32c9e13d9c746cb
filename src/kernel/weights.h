// How GPU kernels hold a weight matrix: packed once at load, so that neighbouring lanes read
// neighbouring bytes. 32 rows are a tile; a tile's columns are cut in chunks of 256, the last one
// shorter. A chunk of `quanta` blocks of 32 columns is, each array over the tile's 32 rows:
//   low     (quanta, row) the low 8, 4 or 2 bits of the 32 codes: 32 bytes (two halves of 16), 16
//           or 8
//   high    (quanta, row) the next 1 or 2 bits: 4 or 8 bytes, where the format has them
//   scales  of groups on their own: (quanta, row) 16 bits for each group, and the minimum beside
//           it; of super-blocks: (row) 16 bytes of int8 scales, and minima: [8 scales, 8 minima] of
//           groups of 32, [16 scales] of groups of 16, followed by (row) [16 minima] where there
//           are any; then (row) d, and dmin beside it, f16
// Codes lie so that a word op gives four at once, for word w = 0..3 and half h of a block, weights
// 16·h + 4·w + i, i = 0..3, to the four bytes:
//   8 bits: word w of half h, already with the offset taken off (int8)
//   4 bits: (word w >> 4·h) & 0x0f0f0f0f
//   2 bits: (word h >> 2·w) & 0x03030303
//   1 bit:  (the word >> (w + 4·h)) & 0x01010101
// A table format's codes lie as the file has them and are looked up then.
// Float formats: (columns / 4, row) four elements each, columns rounded up to 4.
#pragma once

#include "kernel/words.h"
#include "quant/list.h"

namespace assay {

/// Whether the file's minimum is subtracted.
template <class F, bool has_minimum>
struct MinimumOf {
  K_TABLE bool negative = false;
};
template <class F>
struct MinimumOf<F, true> {
  K_TABLE bool negative = F::minimum_sign < 0.0f;
};

/// Sizes of a block format's arrays. Bytes are those of one row and one block of 32 columns, but
/// for super-blocks' scales: of one row and chunk.
template <class F>
struct Packed {
  K_TABLE uint32_t low_bits = F::code_bits == 8u ? 8u : (F::code_bits >= 4u ? 4u : 2u);
  K_TABLE uint32_t high_bits = F::code_bits - low_bits;
  K_TABLE uint32_t low_bytes = 4u * low_bits;
  K_TABLE uint32_t high_bytes = 4u * high_bits;
  K_TABLE bool super_block = F::block_size == 256u;
  K_TABLE uint32_t scale_pieces = F::group_size == 16u && F::has_minimum ? 2u : 1u;  // of 16 bytes
  // Groups of 16 on their own have two scales for 32 columns, and no minimum.
  K_TABLE uint32_t d_bytes = F::has_minimum || (!super_block && F::group_size == 16u) ? 4u : 2u;
  static_assert(super_block || F::group_size == 32u || !F::has_minimum, "four bytes for d");
  K_TABLE bool fine_scales = F::scale_is_bf16 || F::scale_unit < 1.0f;  // k_flush keeps their sums
  K_TABLE uint32_t quantum_bytes = low_bytes + high_bytes + (super_block ? 0u : d_bytes);
  K_TABLE uint32_t chunk_extra = super_block ? 16u * scale_pieces + d_bytes : 0u;
  K_TABLE uint32_t code_offset = F::code_bits == 8u ? 0u : uint32_t(F::code_offset);
};

template <class F>
K_FN uint32_t packed_chunk_bytes(uint32_t quanta) {
  return tile_rows * (quanta * Packed<F>::quantum_bytes + Packed<F>::chunk_extra);
}
K_FN uint32_t chunk_quanta(uint32_t columns, uint32_t chunk) {
  const uint32_t left = columns - chunk * chunk_columns;
  return (left < chunk_columns ? left : chunk_columns) / quantum;
}
/// Bytes of a tile of rows: less than 2^32, as a row has less than 2^26 columns.
template <class F>
K_FN uint32_t packed_tile_bytes(uint32_t columns) {
  const uint32_t whole = columns / chunk_columns, rest = columns % chunk_columns / quantum;
  return whole * packed_chunk_bytes<F>(chunk_columns / quantum) +
         (rest != 0u ? packed_chunk_bytes<F>(rest) : 0u);
}
template <class F>
K_FN K_DEV const uint8_t* packed_chunk(K_DEV const uint8_t* data, uint32_t columns, uint32_t tile,
                                       uint32_t chunk) {
  return data + uint64_t(tile) * packed_tile_bytes<F>(columns) +
         chunk * packed_chunk_bytes<F>(chunk_columns / quantum);
}

/// What four codes stand for, as int8: code − c, where code + 128 − c flips to it by its top bit,
/// and never carries, code being at most 63; or a table's bytes.
template <class F, bool has_table>
struct ValuesOf {
  K_FN uint32_t four(uint32_t codes) {
    if (Packed<F>::code_offset == 0u) return codes;
    return (codes + (128u - Packed<F>::code_offset) * 0x01010101u) ^ 0x80808080u;
  }
};
template <class F>
struct ValuesOf<F, true> {
  K_FN uint32_t four(uint32_t codes) {
    const uint32_t low =
        k_pick_bytes(codes, uint32_t(F::values_low), uint32_t(F::values_low >> 32));
    if (F::code_bits < 4u) return low;
    const uint32_t high =
        k_pick_bytes(codes, uint32_t(F::values_high), uint32_t(F::values_high >> 32));
    const uint32_t upper = ((codes >> 3) & 0x01010101u) * 255u;
    return (low & ~upper) | (high & upper);
  }
};
template <class F>
K_FN uint32_t values_of_four(uint32_t codes) {
  return ValuesOf<F, F::has_table>::four(codes);
}

/// Words w of both halves of one row's block, as int8 values: weights 4·w … + 3 and 16 later.
struct CodePair {
  uint32_t low, high;
};

K_FN K_DEV const uint32_t* words_at(K_DEV const uint8_t* p) {
  return reinterpret_cast<K_DEV const uint32_t*>(p);
}

/// One row's block as it lies in memory: the words of its low plane and of its high one, as many as
/// the format has bits in each.
struct RawBlock {
  uint32_t low[8], high[2];
};

template <class F>
K_FN RawBlock load_block(K_DEV const uint8_t* chunk, uint32_t quanta, uint32_t block,
                         uint32_t row) {
  RawBlock raw;
  K_DEV const uint32_t* low = words_at(chunk + tile_rows * block * Packed<F>::low_bytes);
  if (Packed<F>::low_bits == 2u) {
    raw.low[0] = low[2u * row];
    raw.low[1] = low[2u * row + 1u];
  } else {
    const Words4 four = load4(low + 4u * row);
    raw.low[0] = four.x;
    raw.low[1] = four.y;
    raw.low[2] = four.z;
    raw.low[3] = four.w;
  }
  if (Packed<F>::low_bits == 8u) {
    const Words4 four = load4(low + 4u * (tile_rows + row));
    raw.low[4] = four.x;
    raw.low[5] = four.y;
    raw.low[6] = four.z;
    raw.low[7] = four.w;
  }
  K_DEV const uint32_t* high =
      words_at(chunk + tile_rows * (quanta * Packed<F>::low_bytes + block * Packed<F>::high_bytes));
  if (Packed<F>::high_bits != 0u) raw.high[0] = high[Packed<F>::high_bits * row];
  if (Packed<F>::high_bits == 2u) raw.high[1] = high[2u * row + 1u];
  return raw;
}

/// Word w of half h of a block.
template <class F>
K_FN uint32_t code_word(K_THREAD const RawBlock& raw, uint32_t w, uint32_t h) {
  constexpr uint32_t low_bits = Packed<F>::low_bits, high_bits = Packed<F>::high_bits;
  uint32_t codes = 0u;
  if (low_bits == 8u)
    codes = raw.low[4u * h + w];
  else if (low_bits == 4u)
    codes = (raw.low[w] >> (4u * h)) & 0x0f0f0f0fu;
  else
    codes = (raw.low[h] >> (2u * w)) & 0x03030303u;
  if (high_bits == 1u)
    codes |= ((raw.high[0] >> (w + 4u * h)) & 0x01010101u) << low_bits;
  else if (high_bits == 2u)
    codes |= ((raw.high[h] >> (2u * w)) & 0x03030303u) << low_bits;
  return values_of_four<F>(codes);
}

/// The `high` plane's bits of word w, half h, above the low ones.
template <class F>
K_FN uint32_t high_code_bits(K_DEV const uint8_t* chunk, uint32_t quanta, uint32_t block,
                             uint32_t row, uint32_t w, uint32_t h) {
  K_DEV const uint8_t* plane =
      chunk + tile_rows * (quanta * Packed<F>::low_bytes + block * Packed<F>::high_bytes);
  if (Packed<F>::high_bits == 1u)
    return ((words_at(plane)[row] >> (w + 4u * h)) & 0x01010101u) << Packed<F>::low_bits;
  if (Packed<F>::high_bits == 2u)
    return ((words_at(plane)[2u * row + h] >> (2u * w)) & 0x03030303u) << Packed<F>::low_bits;
  return 0u;
}

template <class F>
K_FN CodePair load_code_pair(K_DEV const uint8_t* chunk, uint32_t quanta, uint32_t block,
                             uint32_t row, uint32_t w) {
  CodePair pair;
  K_DEV const uint32_t* plane = words_at(chunk + tile_rows * block * Packed<F>::low_bytes);
  if (Packed<F>::low_bits == 8u) {
    pair.low = plane[4u * row + w];
    pair.high = plane[4u * (tile_rows + row) + w];
  } else if (Packed<F>::low_bits == 4u) {
    const uint32_t both = plane[4u * row + w];
    pair.low = both & 0x0f0f0f0fu;
    pair.high = (both >> 4) & 0x0f0f0f0fu;
  } else {
    pair.low = (plane[2u * row] >> (2u * w)) & 0x03030303u;
    pair.high = (plane[2u * row + 1u] >> (2u * w)) & 0x03030303u;
  }
  if (Packed<F>::high_bits != 0u) {
    pair.low |= high_code_bits<F>(chunk, quanta, block, row, w, 0u);
    pair.high |= high_code_bits<F>(chunk, quanta, block, row, w, 1u);
  }
  pair.low = values_of_four<F>(pair.low);
  pair.high = values_of_four<F>(pair.high);
  return pair;
}

/// A group's factors: weight = scale·value + minimum, both products exact.
struct GroupScale {
  float scale, minimum;
};

/// The number that 16 bits of a scale are.
template <class F>
K_FN float scale_number(uint32_t bits) {
  return F::scale_is_bf16 ? k_bf16_to_f32(uint16_t(bits)) : k_f16_to_f32(uint16_t(bits));
}
/// The one at 2·index.
template <class F>
K_FN float scale_at(K_DEV const uint8_t* p, uint32_t index) {
  return scale_number<F>(reinterpret_cast<K_DEV const uint16_t*>(p)[index]);
}
/// A super-block's scale, exact.
template <class F>
K_FN float scale_product(float d, float code) {
  return F::scale_unit == 1.0f ? d * code : d * code * F::scale_unit;
}

/// Of block `block` of 32 columns, or of its half h where groups are of 16.
template <class F>
K_FN GroupScale load_scale(K_DEV const uint8_t* chunk, uint32_t quanta, uint32_t block,
                           uint32_t row, uint32_t h) {
  GroupScale group;
  group.minimum = 0.0f;
  K_DEV const uint8_t* scales =
      chunk + tile_rows * quanta * (Packed<F>::low_bytes + Packed<F>::high_bytes);
  if (Packed<F>::super_block) {
    const uint32_t index = F::group_size == 16u ? 2u * block + h : block;
    K_DEV const int8_t* codes = reinterpret_cast<K_DEV const int8_t*>(scales) + 16u * row + index;
    K_DEV const uint8_t* d =
        scales + tile_rows * 16u * Packed<F>::scale_pieces + Packed<F>::d_bytes * row;
    group.scale = scale_product<F>(scale_at<F>(d, 0u), float(codes[0]));
    if (F::has_minimum)
      group.minimum =
          scale_at<F>(d, 1u) * float(codes[F::group_size == 16u ? 16u * tile_rows : 8u]);
  } else {
    K_DEV const uint8_t* d = scales + Packed<F>::d_bytes * (tile_rows * block + row);
    group.scale = scale_at<F>(d, F::group_size == 16u ? h : 0u);
    if (F::has_minimum) group.minimum = scale_at<F>(d, 1u);
  }
  if (MinimumOf<F, F::has_minimum>::negative) group.minimum = -group.minimum;
  return group;
}

/// The scales of one row's chunk, as they lie in memory: a super-block's int8 scales and minima,
/// and in d[0] its d and dmin; of groups on their own, for each 32 columns, the scale and above it
/// the minimum, or the scale of the second half.
struct RawScales {
  uint32_t codes[8], d[8];
};

template <class F>
K_FN RawScales load_scales(K_DEV const uint8_t* chunk, uint32_t quanta, uint32_t row) {
  RawScales raw;
  K_DEV const uint8_t* scales =
      chunk + tile_rows * quanta * (Packed<F>::low_bytes + Packed<F>::high_bytes);
  if (Packed<F>::super_block) {
    K_UNROLL
    for (uint32_t i = 0u; i < Packed<F>::scale_pieces; ++i) {
      const Words4 four = load4(words_at(scales) + 4u * (i * tile_rows + row));
      raw.codes[4u * i] = four.x;
      raw.codes[4u * i + 1u] = four.y;
      raw.codes[4u * i + 2u] = four.z;
      raw.codes[4u * i + 3u] = four.w;
    }
    scales += 16u * Packed<F>::scale_pieces * tile_rows;
  }
  K_UNROLL
  for (uint32_t i = 0u; i < (Packed<F>::super_block ? 1u : 8u); ++i) {
    const uint32_t index = (i < quanta ? i : 0u) * tile_rows + row;
    raw.d[i] = Packed<F>::d_bytes == 4u ? words_at(scales)[index]
                                        : reinterpret_cast<K_DEV const uint16_t*>(scales)[index];
  }
  return raw;
}

/// Of half h of block `block` of the chunk; of the whole block where groups are of 32.
template <class F>
K_FN GroupScale group_scale(K_THREAD const RawScales& raw, uint32_t block, uint32_t h) {
  const uint32_t d = raw.d[Packed<F>::super_block ? 0u : block];
  GroupScale group;
  const bool second = !Packed<F>::super_block && F::group_size == 16u && h != 0u;
  group.scale = scale_number<F>(second ? d >> 16 : d & 0xffffu);
  group.minimum = F::has_minimum ? scale_number<F>(d >> 16) : 0.0f;
  if (Packed<F>::super_block) {
    const uint32_t index = F::group_size == 16u ? 2u * block + h : block;
    group.scale =
        scale_product<F>(group.scale, float(int8_t(raw.codes[index / 4u] >> (8u * (index % 4u)))));
    if (F::has_minimum) {
      const uint32_t minimum = 8u * Packed<F>::scale_pieces + index;
      group.minimum =
          group.minimum * float(int8_t(raw.codes[minimum / 4u] >> (8u * (minimum % 4u))));
    }
  }
  if (MinimumOf<F, F::has_minimum>::negative) group.minimum = -group.minimum;
  return group;
}

/// Element (row, column) of a float format.
template <class F>
K_FN float load_float(K_DEV const uint8_t* data, uint32_t columns, uint32_t tile, uint32_t column,
                      uint32_t row) {
  const uint64_t pieces = (columns + 3u) / 4u;
  const uint64_t index = ((tile * pieces + column / 4u) * tile_rows + row) * 4u + column % 4u;
  return F::value(data + index * F::block_bytes);
}

/// Weight (row, column) of any block format, as quant::decode makes it.
template <class F>
K_FN float load_weight(K_DEV const uint8_t* data, uint32_t columns, uint32_t row, uint32_t column) {
  const uint32_t chunk = column / chunk_columns, block = column % chunk_columns / quantum;
  const uint32_t quanta = chunk_quanta(columns, chunk), lane_row = row % tile_rows;
  const uint32_t w = column % 16u / 4u, h = column % quantum / 16u;
  K_DEV const uint8_t* p = packed_chunk<F>(data, columns, row / tile_rows, chunk);
  const CodePair pair = load_code_pair<F>(p, quanta, block, lane_row, w);
  const uint32_t byte = ((h == 0u ? pair.low : pair.high) >> (8u * (column % 4u))) & 255u;
  const float code = float(int8_t(byte));
  const GroupScale group = load_scale<F>(p, quanta, block, lane_row, h);
  return F::has_minimum ? k_fma(group.scale, code, group.minimum) : group.scale * code;
}

}  // namespace assay
