// Weights × one row of activations. A lane owns a row and a chunk of 256 columns, whose sum is a
// fixed chain; the simds of a group take the chunks of 32 rows, and their sums add in order:
//   y[row] = Σ chunks v,   v: for each group of 32 (or 16): v = fma(RN(dot·scale), d, v), and where
//   the format has a minimum v = fma(minimum, RN(d·Σ codes), v)          W: (rows, columns)
#pragma once

#include "kernel/dispatch.h"
#include "kernel/elementwise.h"

namespace assay {

K_TABLE uint32_t most_simds = 32;

struct MatvecShared {
  float sums[32 * 32];  // (simds, rows)
};

/// One step of the chain: v, the exact dot of a group's codes with the activations', RN(d·Σ of the
/// activations' codes), their scale d.
template <class F>
K_FN float chain_step(float v, float dot, float sum, float d, GroupScale group) {
  v = k_fma(dot * group.scale, d, v);
  if (F::has_minimum) v = k_fma(group.minimum, sum, v);
  return v;
}

/// The chain over one block of 32 columns of one row.
template <class F>
K_FN float block_sum(float v, K_DEV const uint8_t* chunk, uint32_t quanta, uint32_t block,
                     uint32_t row, Quantised x, uint32_t x_block) {
  const Codes32 codes = load_codes<F>(chunk, quanta, block, row);
  const Words4 x0 = load4(x.codes + 8u * x_block);
  const Words4 x1 = load4(x.codes + 8u * x_block + 4u);
  const float d = x.scale[x_block];
  const uint32_t sums = F::has_minimum ? x.sums[x_block] : 0u;
  int32_t low = k_dot4_i8(codes.word[0], x0.x, 0);
  low = k_dot4_i8(codes.word[1], x0.y, low);
  low = k_dot4_i8(codes.word[2], x0.z, low);
  low = k_dot4_i8(codes.word[3], x0.w, low);
  int32_t high = k_dot4_i8(codes.word[4], x1.x, 0);
  high = k_dot4_i8(codes.word[5], x1.y, high);
  high = k_dot4_i8(codes.word[6], x1.z, high);
  high = k_dot4_i8(codes.word[7], x1.w, high);
  const GroupScale first = load_scale<F>(chunk, quanta, block, row, 0u);
  if (F::group_size == 32u)
    return chain_step<F>(v, float(low + high), d * float(low_sum(sums) + high_sum(sums)), d, first);
  v = chain_step<F>(v, float(low), d * float(low_sum(sums)), d, first);
  return chain_step<F>(v, float(high), d * float(high_sum(sums)), d,
                       load_scale<F>(chunk, quanta, block, row, 1u));
}

/// The sum of one chunk of one row; `x_block` is the chunk's first block of the activations.
template <class F>
K_FN float chunk_sum(K_DEV const uint8_t* chunk, uint32_t quanta, uint32_t row, Quantised x,
                     uint32_t x_block) {
  float v = 0.0f;
  uint32_t block = 0u;
  for (; block + 4u <= quanta; block += 4u) {
    K_UNROLL  // loads that are under way together
        for (uint32_t u = 0u; u < 4u; ++u) v =
            block_sum<F>(v, chunk, quanta, block + u, row, x, x_block + block + u);
  }
  for (; block < quanta; ++block)
    v = block_sum<F>(v, chunk, quanta, block, row, x, x_block + block);
  return v;
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
  s.sums[t.simd * lanes + t.lane] = v;
  barrier_group();
  if (t.simd == 0u) {
    const uint32_t simds = t.group_size / lanes;
    for (uint32_t i = 0u; i < simds && first_chunk + i < chunks; ++i)
      total = total + s.sums[i * lanes + t.lane];
  }
  barrier_group();
  return total;
}

/// v = the sum of one chunk of the lane's row, 0 beyond the columns.
struct ChunkSum {
  K_DEV const uint8_t* data;
  Quantised x;
  uint32_t tile, columns, chunk, token, lane;
  K_THREAD float* v;
  template <class F>
  K_FN void run(K_THREAD const ChunkSum& self) {
    const uint32_t x_block =
        self.token * (self.columns / quantum) + self.chunk * (chunk_columns / quantum);
    *self.v = chunk_sum<F>(packed_chunk<F>(self.data, self.columns, self.tile, self.chunk),
                           chunk_quanta(self.columns, self.chunk), self.lane, self.x, x_block);
  }
};
K_FN float chunk_sum_of(uint32_t format, K_DEV const uint8_t* data, Quantised x, uint32_t tile,
                        uint32_t columns, uint32_t chunk, uint32_t token, uint32_t lane) {
  float v = 0.0f;
  const ChunkSum op = {data, x, tile, columns, chunk, token, lane, &v};
  if (chunk * chunk_columns < columns) for_block_format(format, op);
  return v;
}

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

struct MatvecFloat {
  K_CONST const MatmulArgs* a;
  K_GROUP MatvecShared* s;
  Thread t;
  uint32_t part;
  template <class F>
  K_FN void run(K_THREAD const MatvecFloat& self) {
    K_CONST const MatmulArgs& a = *self.a;
    K_GROUP MatvecShared& s = *self.s;
    const Thread t = self.t;
    K_CONST const Matrix& m = self.a->parts[self.part];
    const uint32_t tile = t.group_x - m.first_group;
    const uint32_t chunks = (a.columns + chunk_columns - 1u) / chunk_columns;
    K_DEV const float* x = a.x_f32 + uint64_t(t.group_y) * a.columns;
    float total = 0.0f;
    for (uint32_t first = 0u; first < chunks; first += t.group_size / lanes) {
      const uint32_t begin = (first + t.simd) * chunk_columns;
      const uint32_t end = begin + chunk_columns < a.columns ? begin + chunk_columns : a.columns;
      float v = 0.0f;
      if (begin < a.columns) v = float_chunk_sum<F>(m.data, a.columns, tile, t.lane, x, begin, end);
      total = add_chunks(s, t, total, v, first, chunks);
    }
    if (t.simd == 0u) store_product(m, t.group_y, tile * tile_rows + t.lane, total);
  }
};

}  // namespace assay

/// Up to three matrices of one input. Grid: (tiles of 32 rows of all parts, tokens).
K_KERNEL(matvec, assay::MatmulArgs, assay::MatvecShared) {
  K_CONST const assay::Matrix& m = a.parts[assay::part_of(a, t.group_x)];
  const uint32_t tile = t.group_x - m.first_group, simds = t.group_size / assay::lanes;
  const uint32_t chunks = (a.columns + assay::chunk_columns - 1u) / assay::chunk_columns;
  float total = 0.0f;
  for (uint32_t first = 0u; first < chunks; first += simds) {
    const float v = assay::chunk_sum_of(m.format, m.data, a.x, tile, a.columns, first + t.simd,
                                        t.group_y, t.lane);
    total = assay::add_chunks(s, t, total, v, first, chunks);
  }
  if (t.simd == 0u) assay::store_product(m, t.group_y, tile * assay::tile_rows + t.lane, total);
}

K_KERNEL(matvec_float, assay::MatmulArgs, assay::MatvecShared) {
  const uint32_t part = assay::part_of(a, t.group_x);
  const assay::MatvecFloat op = {&a, &s, t, part};
  assay::for_float_format(a.parts[part].format, op);
}

/// y = quantised(silu(gate·x)·(up·x)): two matmuls, swiglu and quantise in one; a group's 32 rows
/// are one block of the next matmul's activations. The first half of the simds takes the gate's
/// chunks, the other the up's. Grid: (rows / 32, tokens).
K_KERNEL(gate_up, assay::GateUpArgs, assay::MatvecShared) {
  const uint32_t simds = t.group_size / assay::lanes / 2u;
  const bool is_up = t.simd >= simds;
  const uint32_t simd = is_up ? t.simd - simds : t.simd;
  const uint32_t chunks = (a.columns + assay::chunk_columns - 1u) / assay::chunk_columns;
  float gate = 0.0f, up = 0.0f;
  for (uint32_t first = 0u; first < chunks; first += simds) {
    s.sums[t.index] =
        assay::chunk_sum_of(is_up ? a.up_format : a.gate_format, is_up ? a.up : a.gate, a.x,
                            t.group_x, a.columns, first + simd, t.group_y, t.lane);
    assay::barrier_group();
    if (t.simd == 0u) {
      for (uint32_t i = 0u; i < simds && first + i < chunks; ++i) {
        gate = gate + s.sums[i * assay::lanes + t.lane];
        up = up + s.sums[(simds + i) * assay::lanes + t.lane];
      }
    }
    assay::barrier_group();
  }
  // Every simd comes to the exchanges; the first one holds the products.
  const float y = assay::swiglu_of(gate, up);
  assay::quantise_lanes(y, a.y, t.group_y * (a.rows / assay::quantum) + t.group_x, t.lane,
                        t.simd == 0u);
}
