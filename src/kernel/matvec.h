// Weights × one row of activations. A lane owns a row and a chunk of 256 columns, whose sum is a
// fixed chain; the simds of a group take the chunks of 32 rows, and their sums add in order:
//   y[row] = Σ chunks v,   v: for each group of 32 (or 16): v = fma(RN(dot·scale), d, v), and where
//   the format has a minimum v = fma(minimum, RN(d·Σ codes), v), of fine scales v = flush(v)
//   W: (rows, columns)
#pragma once

#include "kernel/dispatch.h"
#include "kernel/elementwise.h"

namespace assay {

/// A weight matrix in the layout of kernel/weights.h, with what is added to its product.
struct Matrix {
  K_DEV const uint8_t* data;
  K_DEV const float* bias;  // (rows), or null
  K_DEV const float* add;   // (tokens, rows), or null: y = RN(product + add), for the residual
  K_DEV float* y;           // (tokens, rows)
  uint32_t format;          // a GGUF tensor type
  uint32_t rows;
  uint32_t first_group;  // group_x at which its rows begin
  uint32_t unused;
};
static_assert(sizeof(Matrix) == 48, "the host and every device agree");

struct MatmulArgs {
  Quantised x;
  K_DEV const float* x_f32;  // float formats read these
  Matrix parts[3];
  uint32_t part_count, columns, tokens, unused;
};
static_assert(sizeof(MatmulArgs) == 192, "the host and every device agree");

struct GateUpArgs {
  Quantised x, y;
  K_DEV const uint8_t* gate;
  K_DEV const uint8_t* up;
  uint32_t gate_format, up_format, rows, columns;
  uint32_t activation, unused;
};
static_assert(sizeof(GateUpArgs) == 88, "the host and every device agree");

K_TABLE uint32_t most_simds = 32;

struct MatvecShared {
  Words4 codes[32 * 16];  // (simds, sixteens of a chunk's activations)
  float scale[32 * 8];    // (simds, blocks of a chunk)
  float sums[32 * 24];    // (simds, blocks, [halves, whole]): RN(scale·Σ codes)
  float totals[32 * 32];  // (simds, rows)
};

/// One step of the chain: v, the exact dot of a group's values with the activations' codes, RN(d·Σ
/// of the activations' codes), their scale d. No sum of fine scales is a denormal.
template <class F>
K_FN float chain_step(float v, float dot, float sum, float d, GroupScale group) {
  v = k_fma(dot * group.scale, d, v);
  if (F::has_minimum) v = k_fma(group.minimum, sum, v);
  return Packed<F>::fine_scales ? k_flush(v) : v;
}

/// The simd's chunk of the activations into shared memory.
K_FN void stage_chunk(K_GROUP MatvecShared& s, Thread t, Quantised x, uint32_t x_block,
                      uint32_t quanta) {
  if (t.lane < 2u * quanta) {
    const Words4 four = load4(x.codes + 8u * x_block + 4u * t.lane);
    const uint32_t to = 16u * t.simd + t.lane;
    s.codes[to].x = four.x;
    s.codes[to].y = four.y;
    s.codes[to].z = four.z;
    s.codes[to].w = four.w;
  }
  if (t.lane < quanta) {
    const float d = x.scale[x_block + t.lane];
    const uint32_t sums = x.sums[x_block + t.lane], to = 8u * t.simd + t.lane;
    s.scale[to] = d;
    s.sums[3u * to] = d * float(low_sum(sums));
    s.sums[3u * to + 1u] = d * float(high_sum(sums));
    s.sums[3u * to + 2u] = d * float(low_sum(sums) + high_sum(sums));
  }
}

K_FN Words4 sixteen_at(K_GROUP MatvecShared& s, uint32_t at) {
  const Words4 four = {s.codes[at].x, s.codes[at].y, s.codes[at].z, s.codes[at].w};
  return four;
}
K_FN int32_t dot_16(uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3, Words4 x) {
  int32_t dot = k_dot4_i8(w0, x.x, 0);
  dot = k_dot4_i8(w1, x.y, dot);
  dot = k_dot4_i8(w2, x.z, dot);
  return k_dot4_i8(w3, x.w, dot);
}

/// The chain over one block of 32 columns of the lane's row; `at` is the block's place in shared
/// memory.
template <class F>
K_FN float block_sum(float v, K_THREAD const RawBlock& raw, K_THREAD const RawScales& scales,
                     uint32_t block, K_GROUP MatvecShared& s, uint32_t at) {
  const Words4 x0 = sixteen_at(s, 2u * at), x1 = sixteen_at(s, 2u * at + 1u);
  const int32_t low = dot_16(code_word<F>(raw, 0u, 0u), code_word<F>(raw, 1u, 0u),
                             code_word<F>(raw, 2u, 0u), code_word<F>(raw, 3u, 0u), x0);
  const int32_t high = dot_16(code_word<F>(raw, 0u, 1u), code_word<F>(raw, 1u, 1u),
                              code_word<F>(raw, 2u, 1u), code_word<F>(raw, 3u, 1u), x1);
  const float d = s.scale[at];
  const GroupScale first = group_scale<F>(scales, block, 0u);
  if (F::group_size == 32u)
    return chain_step<F>(v, float(low + high), s.sums[3u * at + 2u], d, first);
  v = chain_step<F>(v, float(low), s.sums[3u * at], d, first);
  return chain_step<F>(v, float(high), s.sums[3u * at + 1u], d, group_scale<F>(scales, block, 1u));
}

/// The same for float formats, activations x (columns) f32: v = fma(w, x, v) in order.
template <class F>
K_FN float float_chunk_sum(K_DEV const uint8_t* data, uint32_t columns, uint32_t tile, uint32_t row,
                           K_DEV const float* x, uint32_t first, uint32_t last) {
  float v = 0.0f;
  uint32_t k = first;
  for (; k + 8u <= last; k += 8u) {
    float w[8];
    K_UNROLL
    for (uint32_t u = 0u; u < 8u; ++u) w[u] = load_float<F>(data, columns, tile, k + u, row);
    K_UNROLL
    for (uint32_t u = 0u; u < 8u; ++u) v = k_fma(w[u], x[k + u], v);
  }
  for (; k < last; ++k) v = k_fma(load_float<F>(data, columns, tile, k, row), x[k], v);
  return v;
}

/// total += the sums that the group's simds hold of the chunks from `first_chunk` on, in order.
/// Every thread of the group comes here; the totals of the first simd are the answer.
K_FN float add_chunks(K_GROUP MatvecShared& s, Thread t, float total, float v, uint32_t first_chunk,
                      uint32_t chunks) {
  s.totals[t.simd * lanes + t.lane] = v;
  barrier_group();
  if (t.simd == 0u) {
    const uint32_t simds = t.group_size / lanes;
    for (uint32_t i = 0u; i < simds && first_chunk + i < chunks; ++i)
      total = total + s.totals[i * lanes + t.lane];
  }
  barrier_group();
  return total;
}

/// v = the sum of a chunk of the lane's row. All weights are loaded first, while the launch before
/// may still run, then the activations come to shared memory: one wait for memory. Every simd of
/// the group comes here, with the same format; those that are not `active` leave v as it is.
struct ChunkSum {
  K_GROUP MatvecShared* s;
  Thread t;
  K_DEV const uint8_t* data;
  Quantised x;
  uint32_t x_row, tile, columns, chunk, active;
  K_THREAD float* v;
  template <class F>
  K_FN void run(K_THREAD const ChunkSum& self) {
    K_GROUP MatvecShared& s = *self.s;
    const Thread t = self.t;
    const uint32_t chunk = self.active != 0u ? self.chunk : 0u;
    const uint32_t quanta = chunk_quanta(self.columns, chunk);
    K_DEV const uint8_t* p = packed_chunk<F>(self.data, self.columns, self.tile, chunk);
    const RawScales scales = load_scales<F>(p, quanta, t.lane);
    const uint32_t x_block =
        self.x_row * (self.columns / quantum) + chunk * (chunk_columns / quantum);
    // Blocks that are loaded together: as many registers hold.
    constexpr uint32_t together = Packed<F>::low_bits == 8u ? 4u : 8u;
    float v = 0.0f;
    K_UNROLL
    for (uint32_t first = 0u; first < 8u; first += together) {
      RawBlock raw[together];
      K_UNROLL
      for (uint32_t i = 0u; i < together; ++i)
        raw[i] = load_block<F>(p, quanta, first + i < quanta ? first + i : 0u, t.lane);
      if (first == 0u) {
        await_inputs();
        stage_chunk(s, t, self.x, x_block, quanta);
        barrier_group();
      }
      K_UNROLL
      for (uint32_t i = 0u; i < together; ++i)
        if (first + i < quanta)
          v = block_sum<F>(v, raw[i], scales, first + i, s, 8u * t.simd + first + i);
    }
    if (self.active != 0u) *self.v = v;
  }
};

/// Which part of the launch a group works on.
K_FN uint32_t part_of(K_CONST const MatmulArgs& a, uint32_t group) {
  uint32_t part = 0u;
  for (uint32_t i = 1u; i < a.part_count; ++i)
    if (group >= a.parts[i].first_group) part = i;
  return part;
}

/// y = product (+ bias) (+ add).
K_FN void store_product(K_CONST const Matrix& m, uint32_t token, uint32_t row, float product) {
  if (row >= m.rows) return;
  float y = m.bias != nullptr ? product + m.bias[row] : product;
  const uint64_t index = uint64_t(token) * m.rows + row;
  if (m.add != nullptr) y = m.add[index] + y;
  m.y[index] = y;
}

/// A row of a float format's tile times x (columns) f32; the totals of the first simd are the answer.
template <class F>
K_FN float float_product(K_GROUP MatvecShared& s, Thread t, K_DEV const uint8_t* data,
                         uint32_t columns, uint32_t tile, K_DEV const float* x) {
  const uint32_t chunks = (columns + chunk_columns - 1u) / chunk_columns;
  float total = 0.0f;
  for (uint32_t first = 0u; first < chunks; first += t.group_size / lanes) {
    const uint32_t begin = (first + t.simd) * chunk_columns;
    const uint32_t end = begin + chunk_columns < columns ? begin + chunk_columns : columns;
    float v = 0.0f;
    if (begin < columns) v = float_chunk_sum<F>(data, columns, tile, t.lane, x, begin, end);
    total = add_chunks(s, t, total, v, first, chunks);
  }
  return total;
}

struct MatvecFloat {
  K_CONST const MatmulArgs* a;
  K_GROUP MatvecShared* s;
  Thread t;
  uint32_t part;
  template <class F>
  K_FN void run(K_THREAD const MatvecFloat& self) {
    K_CONST const MatmulArgs& a = *self.a;
    const Thread t = self.t;
    K_CONST const Matrix& m = self.a->parts[self.part];
    const uint32_t tile = t.group_x - m.first_group;
    K_DEV const float* x = a.x_f32 + uint64_t(t.group_y) * a.columns;
    const float total = float_product<F>(*self.s, t, m.data, a.columns, tile, x);
    if (t.simd == 0u) store_product(m, t.group_y, tile * tile_rows + t.lane, total);
  }
};

}  // namespace assay

/// Up to three matrices of one input. Grid: (tiles of 32 rows of all parts, tokens).
K_KERNEL(matvec, assay::MatmulArgs, assay::MatvecShared, assay::EarlyAtMost<768>) {
  K_CONST const assay::Matrix& m = a.parts[assay::part_of(a, t.group_x)];
  const uint32_t tile = t.group_x - m.first_group, simds = t.group_size / assay::lanes;
  const uint32_t chunks = (a.columns + assay::chunk_columns - 1u) / assay::chunk_columns;
  float total = 0.0f;
  for (uint32_t first = 0u; first < chunks; first += simds) {
    const uint32_t chunk = first + t.simd;
    float v = 0.0f;
    const assay::ChunkSum op = {&s,        t,     m.data,         a.x, t.group_y, tile,
                                a.columns, chunk, chunk < chunks, &v};
    assay::for_block_format(m.format, op);
    total = assay::add_chunks(s, t, total, v, first, chunks);
  }
  if (t.simd == 0u) assay::store_product(m, t.group_y, tile * assay::tile_rows + t.lane, total);
}

K_KERNEL(matvec_float, assay::MatmulArgs, assay::MatvecShared, assay::AtMost<768>) {
  const uint32_t part = assay::part_of(a, t.group_x);
  const assay::MatvecFloat op = {&a, &s, t, part};
  assay::for_float_format(a.parts[part].format, op);
}

/// y = quantised(f(gate·x)·(up·x)): two matmuls, gate and quantise in one; a group's 32 rows
/// are one block of the next matmul's activations. The first half of the simds takes the gate's
/// chunks, the other the up's. Grid: (rows / 32, tokens).
K_KERNEL(gate_up, assay::GateUpArgs, assay::MatvecShared, assay::EarlyAtMost<768>) {
  const uint32_t simds = t.group_size / assay::lanes / 2u;
  const bool is_up = t.simd >= simds;
  const uint32_t simd = is_up ? t.simd - simds : t.simd;
  const uint32_t chunks = (a.columns + assay::chunk_columns - 1u) / assay::chunk_columns;
  float gate = 0.0f, up = 0.0f;
  for (uint32_t first = 0u; first < chunks; first += simds) {
    const uint32_t chunk = first + simd;
    const bool inside = chunk < chunks, both = a.gate_format == a.up_format;
    float v = 0.0f;
    const assay::ChunkSum gates = {
        &s,        t,     both && is_up ? a.up : a.gate, a.x, t.group_y, t.group_x,
        a.columns, chunk, inside && (both || !is_up),    &v};
    assay::for_block_format(a.gate_format, gates);
    if (!both) {
      assay::barrier_group();  // the activations have been read
      const assay::ChunkSum ups = {
          &s, t, a.up, a.x, t.group_y, t.group_x, a.columns, chunk, inside && is_up, &v};
      assay::for_block_format(a.up_format, ups);
    }
    s.totals[t.index] = v;
    assay::barrier_group();
    if (t.simd == 0u) {
      for (uint32_t i = 0u; i < simds && first + i < chunks; ++i) {
        gate = gate + s.totals[i * assay::lanes + t.lane];
        up = up + s.totals[(simds + i) * assay::lanes + t.lane];
      }
    }
    assay::barrier_group();
  }
  // Every simd comes to the exchanges; the first one holds the products.
  const float y = assay::gated(a.activation, gate, up);
  assay::quantise_lanes(y, a.y, t.group_y * (a.rows / assay::quantum) + t.group_x, t.lane,
                        t.simd == 0u);
}
