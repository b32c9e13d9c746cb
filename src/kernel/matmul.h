// Weights × many rows of activations, by tiles of exact integer products. A simd owns 32 rows and
// up to 32 tokens and walks the chunks in order; a group's four simds share the activations. The
// chain of sums is matvec's (kernel/matvec.h), so the bits are too.
#pragma once

#include "kernel/matvec.h"

namespace assay {

K_TABLE uint32_t tile_simds = 4;    // simds of a group
K_TABLE uint32_t tile_tokens = 32;  // tokens of a group
K_TABLE uint32_t x_stride = 68;     // words between tokens: 64 and 4, so that banks differ

struct MatmulShared {
  uint32_t codes[32 * 68];  // (tokens, words of a chunk)
  float scale[8 * 32];      // (blocks of a chunk, tokens)
  float sums[2 * 8 * 32];   // (halves, blocks, tokens): RN(scale·Σ codes), where a format has a
                            // minimum; of whole blocks in the first half where groups are of 32
};

/// A chunk of the group's tokens into shared memory; tokens beyond the step's are zeros.
template <class F>
K_FN void stage_activations(K_GROUP MatmulShared& s, Thread t, Quantised x, uint32_t columns,
                            uint32_t tokens, uint32_t first_token, uint32_t count, uint32_t chunk,
                            uint32_t quanta) {
  const uint32_t blocks = columns / quantum;
  for (uint32_t i = t.index; i < count * quanta; i += t.group_size) {
    const uint32_t token = i / quanta, block = i % quanta;
    const bool inside = first_token + token < tokens;
    const uint32_t from =
        (first_token + token) * blocks + chunk * (chunk_columns / quantum) + block;
    Words4 low = {0u, 0u, 0u, 0u}, high = {0u, 0u, 0u, 0u};
    float d = 0.0f;
    uint32_t sums = 0u;
    if (inside) {
      low = load4(x.codes + 8u * from);
      high = load4(x.codes + 8u * from + 4u);
      d = x.scale[from];
      if (F::has_minimum) sums = x.sums[from];
    }
    const uint32_t to = token * x_stride + 8u * block, at = block * tile_tokens + token;
    s.codes[to] = low.x;
    s.codes[to + 1u] = low.y;
    s.codes[to + 2u] = low.z;
    s.codes[to + 3u] = low.w;
    s.codes[to + 4u] = high.x;
    s.codes[to + 5u] = high.y;
    s.codes[to + 6u] = high.z;
    s.codes[to + 7u] = high.w;
    s.scale[at] = d;
    if (F::has_minimum && F::group_size == 16u) {
      s.sums[at] = d * float(low_sum(sums));
      s.sums[8u * tile_tokens + at] = d * float(high_sum(sums));
    } else if (F::has_minimum) {
      s.sums[at] = d * float(low_sum(sums) + high_sum(sums));
    }
  }
}

/// The sums of 16 rows × 8 tokens after a group of codes; `at` is the group's factor of the lane's
/// first token.
template <class F>
K_FN void chain_tile(K_THREAD float* v, TileSums dots, K_GROUP MatmulShared& s, uint32_t at,
                     uint32_t half_index, GroupScale first, GroupScale second) {
  K_UNROLL
  for (uint32_t e = 0u; e < 4u; ++e) {
    const float sum = F::has_minimum ? s.sums[half_index * 8u * tile_tokens + at + e % 2u] : 0.0f;
    v[e] = chain_step<F>(v[e], dots.sum[e], sum, s.scale[at + e % 2u], e < 2u ? first : second);
  }
}

/// What a lane knows of 16 rows' block of 32 columns: rows `row` and row + 8.
struct TileWeights {
  CodePair first, second;
  GroupScale scale[2][2];  // (halves of the block, rows)
};
template <class F>
K_FN TileWeights load_tile_weights(K_DEV const uint8_t* chunk, uint32_t quanta, uint32_t block,
                                   uint32_t row, uint32_t slot) {
  TileWeights w;
  w.first = load_code_pair<F>(chunk, quanta, block, row, slot);
  w.second = load_code_pair<F>(chunk, quanta, block, row + 8u, slot);
  K_UNROLL
  for (uint32_t h = 0u; h < 32u / F::group_size; ++h) {
    w.scale[h][0] = load_scale<F>(chunk, quanta, block, row, h);
    w.scale[h][1] = load_scale<F>(chunk, quanta, block, row + 8u, h);
  }
  return w;
}

/// One block of 32 columns of 16 rows × 8 tokens, whose codes stand at `x`.
template <class F>
K_FN void tile_block(K_THREAD float* v, K_GROUP MatmulShared& s, K_THREAD const TileWeights& w,
                     K_GROUP const uint32_t* x, uint32_t at, uint32_t lane) {
  if (F::group_size == 16u) {
    const TileSums low = tile_mma_16(w.first.low, w.second.low, x, x_stride, lane);
    const TileSums high = tile_mma_16(w.first.high, w.second.high, x + 4u, x_stride, lane);
    chain_tile<F>(v, low, s, at, 0u, w.scale[0][0], w.scale[0][1]);
    chain_tile<F>(v, high, s, at, 1u, w.scale[1][0], w.scale[1][1]);
  } else {
    const TileSums dots =
        tile_mma_32(w.first.low, w.second.low, w.first.high, w.second.high, x, x_stride, lane);
    chain_tile<F>(v, dots, s, at, 0u, w.scale[0][0], w.scale[0][1]);
  }
}

/// 32 rows × (8·column_tiles) tokens of a product.
template <class F, uint32_t column_tiles>
K_FN void matmul_tile(K_CONST const MatmulArgs& a, K_GROUP MatmulShared& s, Thread t,
                      uint32_t part) {
  const uint32_t tiles = (a.parts[part].rows + tile_rows - 1u) / tile_rows;
  const uint32_t tile = (t.group_x - a.parts[part].first_group) * tile_simds + t.simd;
  const uint32_t first_token = t.group_y * 8u * column_tiles;
  const uint32_t chunks = (a.columns + chunk_columns - 1u) / chunk_columns;
  const uint32_t row = tile_row(t.lane), slot = tile_slot(t.lane);
  float v[2][4 * column_tiles], total[2][4 * column_tiles];
  K_UNROLL
  for (uint32_t i = 0u; i < 8u * column_tiles; ++i) total[i % 2u][i / 2u] = 0.0f;
  for (uint32_t chunk = 0u; chunk < chunks; ++chunk) {
    const uint32_t quanta = chunk_quanta(a.columns, chunk);
    K_DEV const uint8_t* p =
        packed_chunk<F>(a.parts[part].data, a.columns, tile < tiles ? tile : 0u, chunk);
    // A block's weights are loaded while the one before is computed.
    TileWeights upper = load_tile_weights<F>(p, quanta, 0u, row, slot);
    TileWeights lower = load_tile_weights<F>(p, quanta, 0u, row + 16u, slot);
    barrier_group();  // the last chunk has been read
    stage_activations<F>(s, t, a.x, a.columns, a.tokens, first_token, 8u * column_tiles, chunk,
                         quanta);
    barrier_group();
    if (tile >= tiles) continue;  // a whole simd
    K_UNROLL
    for (uint32_t i = 0u; i < 8u * column_tiles; ++i) v[i % 2u][i / 2u] = 0.0f;
    for (uint32_t block = 0u; block < quanta; ++block) {
      const uint32_t next = block + 1u < quanta ? block + 1u : block;
      const TileWeights next_upper = load_tile_weights<F>(p, quanta, next, row, slot);
      const TileWeights next_lower = load_tile_weights<F>(p, quanta, next, row + 16u, slot);
      K_UNROLL
      for (uint32_t n = 0u; n < column_tiles; ++n) {
        K_GROUP const uint32_t* x = s.codes + 8u * n * x_stride + 8u * block;
        const uint32_t at = block * tile_tokens + 8u * n + 2u * slot;
        tile_block<F>(v[0] + 4u * n, s, upper, x, at, t.lane);
        tile_block<F>(v[1] + 4u * n, s, lower, x, at, t.lane);
      }
      upper = next_upper;
      lower = next_lower;
    }
    K_UNROLL
    for (uint32_t i = 0u; i < 8u * column_tiles; ++i)
      total[i % 2u][i / 2u] = total[i % 2u][i / 2u] + v[i % 2u][i / 2u];
  }
  if (tile >= tiles) return;
  K_UNROLL
  for (uint32_t i = 0u; i < 8u * column_tiles; ++i) {
    const uint32_t m = i % 2u, e = i / 2u;
    const uint32_t token = first_token + 8u * (e / 4u) + 2u * slot + e % 2u;
    if (token < a.tokens)
      store_product(a.parts[part], token, tile * tile_rows + 16u * m + row + 8u * (e % 4u / 2u),
                    total[m][e]);
  }
}

template <uint32_t column_tiles>
struct Matmul {
  K_CONST const MatmulArgs* a;
  K_GROUP MatmulShared* s;
  Thread t;
  uint32_t part;
  template <class F>
  K_FN void run(K_THREAD const Matmul& self) {
    matmul_tile<F, column_tiles>(*self.a, *self.s, self.t, self.part);
  }
};

K_TABLE uint32_t float_tokens = 8;  // tokens of a group

struct MatmulFloatShared {
  float x[8 * 256];  // (tokens, columns of a chunk)
};

/// Float formats: a lane owns a row, a simd 32 rows, a group eight tokens.
struct MatmulFloat {
  K_CONST const MatmulArgs* a;
  K_GROUP MatmulFloatShared* s;
  Thread t;
  uint32_t part;

  template <class F>
  K_FN void run(K_THREAD const MatmulFloat& self) {
    K_CONST const MatmulArgs& a = *self.a;
    K_GROUP MatmulFloatShared& s = *self.s;
    const Thread t = self.t;
    K_CONST const Matrix& m = self.a->parts[self.part];
    const uint32_t tiles = (m.rows + tile_rows - 1u) / tile_rows;
    const uint32_t tile = (t.group_x - m.first_group) * tile_simds + t.simd;
    const uint32_t first_token = t.group_y * float_tokens;
    float total[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (uint32_t first = 0u; first < a.columns; first += chunk_columns) {
      const uint32_t left = a.columns - first;
      const uint32_t count = left < chunk_columns ? left : chunk_columns;
      barrier_group();
      for (uint32_t i = t.index; i < float_tokens * count; i += t.group_size) {
        const uint32_t token = i / count, k = i % count;
        s.x[token * chunk_columns + k] =
            first_token + token < a.tokens
                ? a.x_f32[uint64_t(first_token + token) * a.columns + first + k]
                : 0.0f;
      }
      barrier_group();
      if (tile >= tiles) continue;
      float v[8] = {0, 0, 0, 0, 0, 0, 0, 0};
      for (uint32_t k = 0u; k < count; ++k) {
        const float w = load_float<F>(m.data, a.columns, tile, first + k, t.lane);
        K_UNROLL
        for (uint32_t n = 0u; n < float_tokens; ++n)
          v[n] = k_fma(w, s.x[n * chunk_columns + k], v[n]);
      }
      K_UNROLL
      for (uint32_t n = 0u; n < float_tokens; ++n) total[n] = total[n] + v[n];
    }
    if (tile >= tiles) return;
    K_UNROLL
    for (uint32_t n = 0u; n < float_tokens; ++n)
      if (first_token + n < a.tokens)
        store_product(m, first_token + n, tile * tile_rows + t.lane, total[n]);
  }
};

}  // namespace assay

/// Grid: (tiles of 4 · 32 rows of all parts, tokens / 32), group of 128.
K_KERNEL(matmul, assay::MatmulArgs, assay::MatmulShared) {
  const uint32_t part = assay::part_of(a, t.group_x);
  const assay::Matmul<4u> op = {&a, &s, t, part};
  assay::for_block_format(a.parts[part].format, op);
}
/// For few tokens. Grid: (tiles of 4 · 32 rows of all parts, tokens / 8), group of 128.
K_KERNEL(matmul_8, assay::MatmulArgs, assay::MatmulShared) {
  const uint32_t part = assay::part_of(a, t.group_x);
  const assay::Matmul<1u> op = {&a, &s, t, part};
  assay::for_block_format(a.parts[part].format, op);
}
/// Grid: (tiles of 4 · 32 rows of all parts, tokens / 8), group of 128.
K_KERNEL(matmul_float, assay::MatmulArgs, assay::MatmulFloatShared) {
  const uint32_t part = assay::part_of(a, t.group_x);
  const assay::MatmulFloat op = {&a, &s, t, part};
  assay::for_float_format(a.parts[part].format, op);
}
