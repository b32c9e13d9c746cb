// Weights × many rows of activations, by tiles of exact integer products. A simd owns 16 rows and
// up to 32 tokens and walks the chunks in order; a group's four simds share the activations. The
// chain of sums is matvec's (kernel/matvec.h), so the bits are too.
#pragma once

#include "kernel/matvec.h"

namespace assay {

K_TABLE uint32_t tile_simds = 4;  // simds of a group
K_TABLE uint32_t matmul_group = 128;
K_TABLE uint32_t tile_tokens = 32;  // tokens of a group
K_TABLE uint32_t x_stride = 68;     // words between tokens: 64 and 4, so that banks differ

struct MatmulShared {
  uint32_t codes[32 * 68];  // (tokens, words of a chunk)
  float scale[8 * 32];      // (blocks of a chunk, tokens)
  float sums[2 * 8 * 32];   // (halves, blocks, tokens): RN(scale·Σ codes), where a format has a
                            // minimum; of whole blocks in the first half where groups are of 32
};

/// A token's block of 32 activations, on its way from device memory to shared memory.
struct StagedBlock {
  Words4 low, high;
  float scale;
  uint32_t sums;
};
/// Where a token's activations lie: at its own row, or at the row that a table names.
struct OwnRow {
  K_FN uint32_t of(K_GROUP const uint32_t*, uint32_t token) { return token; }
};
struct ListedRow {
  K_FN uint32_t of(K_GROUP const uint32_t* rows, uint32_t token) { return rows[token]; }
};

/// What a group multiplies: its tokens first … end − 1, and of each simd 16 rows of weights.
struct TileWork {
  K_DEV const uint8_t* data;
  Quantised x;
  K_GROUP const uint32_t* rows;  // by token, for ListedRow
  uint32_t columns, first, end;
  uint32_t tile;    // of weights
  uint32_t row;     // of the tile: the lane's first; row + 8 is the other
  uint32_t inside;  // 0: a simd without rows
};

/// Block `i` of a chunk's: token first + i / quanta, block i % quanta; zeros from token `end` on.
template <class F, class Row>
K_FN StagedBlock load_activations(K_THREAD const TileWork& w, uint32_t chunk, uint32_t quanta,
                                  uint32_t i) {
  StagedBlock staged = {{0u, 0u, 0u, 0u}, {0u, 0u, 0u, 0u}, 0.0f, 0u};
  const uint32_t token = w.first + i / quanta;
  if (token >= w.end) return staged;
  const uint32_t from = Row::of(w.rows, token) * (w.columns / quantum) +
                        chunk * (chunk_columns / quantum) + i % quanta;
  staged.low = load4(w.x.codes + 8u * from);
  staged.high = load4(w.x.codes + 8u * from + 4u);
  staged.scale = w.x.scale[from];
  if (F::has_minimum) staged.sums = w.x.sums[from];
  return staged;
}
template <class F>
K_FN void store_activations(K_GROUP MatmulShared& s, K_THREAD const StagedBlock& staged,
                            uint32_t quanta, uint32_t i) {
  const uint32_t token = i / quanta, block = i % quanta;
  const uint32_t to = token * x_stride + 8u * block, at = block * tile_tokens + token;
  s.codes[to] = staged.low.x;
  s.codes[to + 1u] = staged.low.y;
  s.codes[to + 2u] = staged.low.z;
  s.codes[to + 3u] = staged.low.w;
  s.codes[to + 4u] = staged.high.x;
  s.codes[to + 5u] = staged.high.y;
  s.codes[to + 6u] = staged.high.z;
  s.codes[to + 7u] = staged.high.w;
  s.scale[at] = staged.scale;
  if (F::has_minimum && F::group_size == 16u) {
    s.sums[at] = staged.scale * float(low_sum(staged.sums));
    s.sums[8u * tile_tokens + at] = staged.scale * float(high_sum(staged.sums));
  } else if (F::has_minimum) {
    s.sums[at] = staged.scale * float(low_sum(staged.sums) + high_sum(staged.sums));
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

/// 16 rows × (8·column_tiles) tokens of a product: half of a tile of weights. total[i] is that of
/// row `row` + 8·(i % 4 / 2) and token first + 8·(i / 4) + 2·slot + i % 2.
template <class F, uint32_t column_tiles, class Row>
K_FN void tile_products(K_THREAD const TileWork& w, K_GROUP MatmulShared& s, Thread t,
                        K_THREAD float* total) {
  const uint32_t chunks = (w.columns + chunk_columns - 1u) / chunk_columns;
  const uint32_t slot = tile_slot(t.lane);
  // What comes next is loaded while one computes: a chunk's activations, two blocks a thread at
  // most, and a block's weights.
  constexpr uint32_t pieces = (8u * column_tiles * 8u + matmul_group - 1u) / matmul_group;
  StagedBlock staged[pieces];
  K_UNROLL
  for (uint32_t i = 0u; i < pieces; ++i)
    staged[i] =
        load_activations<F, Row>(w, 0u, chunk_quanta(w.columns, 0u), t.index + i * matmul_group);
  float v[4 * column_tiles];
  K_UNROLL
  for (uint32_t i = 0u; i < 4u * column_tiles; ++i) total[i] = 0.0f;
  for (uint32_t chunk = 0u; chunk < chunks; ++chunk) {
    const uint32_t quanta = chunk_quanta(w.columns, chunk);
    K_DEV const uint8_t* p = packed_chunk<F>(w.data, w.columns, w.tile, chunk);
    TileWeights weights = load_tile_weights<F>(p, quanta, 0u, w.row, slot);
    barrier_group();  // the last chunk has been read
    K_UNROLL
    for (uint32_t i = 0u; i < pieces; ++i)
      if (t.index + i * matmul_group < 8u * column_tiles * quanta)
        store_activations<F>(s, staged[i], quanta, t.index + i * matmul_group);
    barrier_group();
    if (chunk + 1u < chunks) {
      const uint32_t next_quanta = chunk_quanta(w.columns, chunk + 1u);
      K_UNROLL
      for (uint32_t i = 0u; i < pieces; ++i)
        staged[i] =
            load_activations<F, Row>(w, chunk + 1u, next_quanta, t.index + i * matmul_group);
    }
    if (w.inside == 0u) continue;  // a whole simd
    K_UNROLL
    for (uint32_t i = 0u; i < 4u * column_tiles; ++i) v[i] = 0.0f;
    for (uint32_t block = 0u; block < quanta; ++block) {
      const TileWeights next =
          load_tile_weights<F>(p, quanta, block + 1u < quanta ? block + 1u : block, w.row, slot);
      K_UNROLL
      for (uint32_t n = 0u; n < column_tiles; ++n)
        tile_block<F>(v + 4u * n, s, weights, s.codes + 8u * n * x_stride + 8u * block,
                      block * tile_tokens + 8u * n + 2u * slot, t.lane);
      weights = next;
    }
    K_UNROLL
    for (uint32_t i = 0u; i < 4u * column_tiles; ++i) total[i] = total[i] + v[i];
  }
}

template <class F, uint32_t column_tiles>
K_FN void matmul_tile(K_CONST const MatmulArgs& a, K_GROUP MatmulShared& s, Thread t,
                      uint32_t part) {
  const uint32_t halves = (a.parts[part].rows + 15u) / 16u;
  const uint32_t half_tile = (t.group_x - a.parts[part].first_group) * tile_simds + t.simd;
  const uint32_t first_token = t.group_y * 8u * column_tiles;
  const uint32_t group_end = first_token + 8u * column_tiles;
  const uint32_t inside = half_tile < halves ? 1u : 0u;
  const TileWork work = {a.parts[part].data,
                         a.x,
                         nullptr,
                         a.columns,
                         first_token,
                         group_end < a.tokens ? group_end : a.tokens,
                         inside != 0u ? half_tile / 2u : 0u,
                         half_tile % 2u * 16u + tile_row(t.lane),
                         inside};
  float total[4 * column_tiles];
  tile_products<F, column_tiles, OwnRow>(work, s, t, total);
  if (inside == 0u) return;
  K_UNROLL
  for (uint32_t i = 0u; i < 4u * column_tiles; ++i) {
    const uint32_t token = first_token + 8u * (i / 4u) + 2u * tile_slot(t.lane) + i % 2u;
    if (token < a.tokens)
      store_product(a.parts[part], token, work.tile * tile_rows + work.row + 8u * (i % 4u / 2u),
                    total[i]);
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

/// What a group multiplies with float formats: tokens first … end − 1, of each simd a tile of 32
/// rows.
struct FloatWork {
  K_DEV const uint8_t* data;
  K_DEV const float* x;
  K_GROUP const uint32_t* rows;  // by token, for ListedRow
  uint32_t columns, first, end;
  uint32_t tile;
  uint32_t inside;  // 0: a simd without rows
};
/// Float formats: a lane owns a row, a simd 32 rows, a group eight tokens; total[n] is that of token
/// first + n.
template <class F, class Row>
K_FN void float_products(K_THREAD const FloatWork& w, K_GROUP MatmulFloatShared& s, Thread t,
                         K_THREAD float* total) {
  K_UNROLL
  for (uint32_t n = 0u; n < float_tokens; ++n) total[n] = 0.0f;
  for (uint32_t first = 0u; first < w.columns; first += chunk_columns) {
    const uint32_t left = w.columns - first;
    const uint32_t count = left < chunk_columns ? left : chunk_columns;
    barrier_group();
    for (uint32_t i = t.index; i < float_tokens * count; i += t.group_size) {
      const uint32_t token = i / count, k = i % count;
      s.x[token * chunk_columns + k] =
          w.first + token < w.end
              ? w.x[uint64_t(Row::of(w.rows, w.first + token)) * w.columns + first + k]
              : 0.0f;
    }
    barrier_group();
    if (w.inside == 0u) continue;
    float v[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (uint32_t k = 0u; k < count; ++k) {
      const float weight = load_float<F>(w.data, w.columns, w.tile, first + k, t.lane);
      K_UNROLL
      for (uint32_t n = 0u; n < float_tokens; ++n)
        v[n] = k_fma(weight, s.x[n * chunk_columns + k], v[n]);
    }
    K_UNROLL
    for (uint32_t n = 0u; n < float_tokens; ++n) total[n] = total[n] + v[n];
  }
}

struct MatmulFloat {
  K_CONST const MatmulArgs* a;
  K_GROUP MatmulFloatShared* s;
  Thread t;
  uint32_t part;

  template <class F>
  K_FN void run(K_THREAD const MatmulFloat& self) {
    K_CONST const MatmulArgs& a = *self.a;
    const Thread t = self.t;
    K_CONST const Matrix& m = self.a->parts[self.part];
    const uint32_t tiles = (m.rows + tile_rows - 1u) / tile_rows;
    const uint32_t tile = (t.group_x - m.first_group) * tile_simds + t.simd;
    const uint32_t first_token = t.group_y * float_tokens;
    const FloatWork work = {m.data,      a.x_f32,  nullptr, a.columns,
                            first_token, a.tokens, tile,    tile < tiles ? 1u : 0u};
    float total[8];
    float_products<F, OwnRow>(work, *self.s, t, total);
    if (tile >= tiles) return;
    K_UNROLL
    for (uint32_t n = 0u; n < float_tokens; ++n)
      if (first_token + n < a.tokens)
        store_product(m, first_token + n, tile * tile_rows + t.lane, total[n]);
  }
};

}  // namespace assay

/// Grid: (4 · 16 rows of all parts, tokens / 32).
K_KERNEL(matmul, assay::MatmulArgs, assay::MatmulShared, assay::Exactly<assay::matmul_group>) {
  const uint32_t part = assay::part_of(a, t.group_x);
  const assay::Matmul<4u> op = {&a, &s, t, part};
  assay::for_block_format(a.parts[part].format, op);
}
/// For few tokens. Grid: (4 · 16 rows of all parts, tokens / 8).
K_KERNEL(matmul_8, assay::MatmulArgs, assay::MatmulShared, assay::Exactly<assay::matmul_group>) {
  const uint32_t part = assay::part_of(a, t.group_x);
  const assay::Matmul<1u> op = {&a, &s, t, part};
  assay::for_block_format(a.parts[part].format, op);
}
/// Grid: (tiles of 4 · 32 rows of all parts, tokens / 8).
K_KERNEL(matmul_float, assay::MatmulArgs, assay::MatmulFloatShared,
         assay::Exactly<assay::matmul_group>) {
  const uint32_t part = assay::part_of(a, t.group_x);
  const assay::MatmulFloat op = {&a, &s, t, part};
  assay::for_float_format(a.parts[part].format, op);
}
