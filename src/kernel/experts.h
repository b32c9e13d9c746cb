// What chosen experts compute, by the routing that `route` left in device memory: a row of ids, then
// of weights, for each token. A token's slot u, or its place token·used + u, has its u-th expert.
//   few places:   a mat-vec each (kernel/matvec.h), which asks the routing for its weights
//   many places:  `group_experts` lists the places by expert and cuts each expert's into tiles; a
//                 tile's rows are multiplied together (kernel/matmul.h)
// The host knows no routing: it launches as many groups as any routing can need, and those without a
// tile end. A row's sums are its own, so its bits do not depend on the rows beside it.
#pragma once

#include "kernel/matmul.h"
#include "kernel/route.h"

namespace assay {

/// Places first … end − 1 of the list, all of one expert. An expert beyond the last: of ids that are
/// none. no_expert: no tile.
struct ExpertTile {
  uint32_t expert, first, end, unused;
};
static_assert(sizeof(ExpertTile) == 16, "the host and every device agree");
K_TABLE uint32_t no_expert = 0xffffffffu;

/// Places of a tile; 0: few, a mat-vec each.
K_FN uint32_t expert_tile_of(uint32_t places, uint32_t experts) {
  if (places <= 2u * experts) return 0u;
  return places <= 8u * experts ? 8u : 32u;
}
/// The most tiles that the places of any routing make.
K_FN uint32_t most_expert_tiles(uint32_t places, uint32_t experts, uint32_t tile) {
  return places / tile + (places < experts + 1u ? places : experts + 1u);
}

struct GroupExpertsArgs {
  K_DEV const float* routing;  // (tokens, 2·used)
  K_DEV uint32_t* places;      // (tokens·used): by expert, ascending
  K_DEV ExpertTile* tiles;     // (tiles)
  uint32_t tokens, used, experts;
  uint32_t tile;  // places of one
  uint32_t tile_count, unused;
};
static_assert(sizeof(GroupExpertsArgs) == 48, "the host and every device agree");

K_TABLE uint32_t grouping_simds = 8;

struct GroupExpertsShared {
  uint32_t counts[8 * 513];  // (simds, experts and one more): places, then where the next ones go
};

struct ExpertsArgs {
  Quantised x;
  K_DEV const float* x_f32;    // float formats read these
  K_DEV const uint8_t* data;   // (experts, rows, columns), each expert in tiles of its own
  K_DEV const float* bias;     // (experts, rows), or null
  K_DEV const float* routing;  // (tokens, 2·used)
  K_DEV float* y;              // (places, rows)
  K_DEV const uint32_t* places;
  K_DEV const ExpertTile* tiles;
  uint32_t format, rows, columns, used, experts;
  uint32_t of_places;  // 1: x has a row for each place; 0: for each token
  uint32_t tile, unused;
};
static_assert(sizeof(ExpertsArgs) == 112, "the host and every device agree");

/// Of scale_experts, spread_experts and mix_experts.
struct SlotsArgs {
  K_DEV const float* x;
  K_DEV const float* routing;  // (tokens, 2·used)
  K_DEV const float* weight;   // (experts)
  K_DEV const float* bias;     // (experts, width), or null
  K_DEV float* y;
  uint32_t width;  // of a slot's row
  uint32_t used, experts;
  uint32_t weighted;  // of mix_experts
};
static_assert(sizeof(SlotsArgs) == 56, "the host and every device agree");

/// The expert of a routing's place; `experts` where the id is none's.
K_FN uint32_t expert_of(K_DEV const float* routing, uint32_t used, uint32_t place,
                        uint32_t experts) {
  const float id = routing[uint64_t(place / used) * 2u * used + place % used];
  return id >= 0.0f && id < float(experts) ? uint32_t(id) : experts;
}

/// How many lanes of the simd have the lane's id, and how many of them before it.
struct SameId {
  uint32_t all, before;
};
K_FN SameId same_id(uint32_t id, uint32_t lane) {
  SameId same = {0u, 0u};
  for (uint32_t u = 0u; u < lanes; ++u) {
    const uint32_t other = shuffle_from(id, u);
    same.all += other == id ? 1u : 0u;
    same.before += other == id && u < lane ? 1u : 0u;
  }
  return same;
}

/// The expert of the simd's place in round `round`; each simd has an equal part of the places.
struct Placed {
  uint32_t place, expert;  // no_expert: no place
};
K_FN Placed placed_at(K_CONST const GroupExpertsArgs& a, uint32_t rounds, uint32_t round,
                      Thread t) {
  const uint32_t place = (t.simd * rounds + round) * lanes + t.lane;
  const Placed placed = {place, place < a.tokens * a.used
                                    ? expert_of(a.routing, a.used, place, a.experts)
                                    : no_expert};
  return placed;
}

/// Where each expert's places begin, and their tiles: by the first simd. counts become where each
/// simd's places go.
K_FN void list_tiles(K_CONST const GroupExpertsArgs& a, K_GROUP GroupExpertsShared& s,
                     uint32_t lane) {
  const uint32_t bins = a.experts + 1u;
  uint64_t before = 0u;  // tiles (above), places
  for (uint32_t first = 0u; first < bins; first += lanes) {
    const uint32_t bin = first + lane;
    uint32_t places = 0u;
    for (uint32_t i = 0u; i < grouping_simds && bin < bins; ++i) places += s.counts[i * bins + bin];
    const uint32_t tiles = (places + a.tile - 1u) / a.tile;
    const uint64_t own = (uint64_t(tiles) << 32) | uint64_t(places);
    const uint64_t sum = before + simd_sum_to(own, lane);
    const uint32_t first_place = uint32_t(sum) - places, end = first_place + places;
    const uint32_t first_tile = uint32_t(sum >> 32) - tiles;
    uint32_t next = first_place;
    for (uint32_t i = 0u; i < grouping_simds && bin < bins; ++i) {
      const uint32_t count = s.counts[i * bins + bin];
      s.counts[i * bins + bin] = next;
      next += count;
    }
    for (uint32_t i = 0u; i < tiles; ++i) {
      const uint32_t begin = first_place + i * a.tile;
      a.tiles[first_tile + i].expert = bin;
      a.tiles[first_tile + i].first = begin;
      a.tiles[first_tile + i].end = begin + a.tile < end ? begin + a.tile : end;
    }
    before = last_lanes(sum);
  }
  for (uint32_t i = uint32_t(before >> 32) + lane; i < a.tile_count; i += lanes)
    a.tiles[i].expert = no_expert;
}

/// y (+ bias); NaN where the expert is none.
K_FN void store_expert(K_CONST const ExpertsArgs& a, uint32_t expert, uint32_t place, uint32_t row,
                       float product) {
  if (row >= a.rows) return;
  float y = product;
  if (expert >= a.experts)
    y = k_float(0x7fc00000u);
  else if (a.bias != nullptr)
    y = product + a.bias[uint64_t(expert) * a.rows + row];
  a.y[uint64_t(place) * a.rows + row] = y;
}
/// The row of x that a place reads.
K_FN uint32_t x_row_of(K_CONST const ExpertsArgs& a, uint32_t place) {
  return a.of_places != 0u ? place : place / a.used;
}
/// The first tile of weights of an expert; of none, some expert's.
K_FN uint32_t first_tile_of(K_CONST const ExpertsArgs& a, uint32_t expert) {
  return (expert < a.experts ? expert : 0u) * ((a.rows + tile_rows - 1u) / tile_rows);
}

struct MatvecFloatExperts {
  K_CONST const ExpertsArgs* a;
  K_GROUP MatvecShared* s;
  Thread t;
  uint32_t expert;
  template <class F>
  K_FN void run(K_THREAD const MatvecFloatExperts& self) {
    K_CONST const ExpertsArgs& a = *self.a;
    const Thread t = self.t;
    const uint32_t tile = first_tile_of(a, self.expert) + t.group_x;
    K_DEV const float* x = a.x_f32 + uint64_t(x_row_of(a, t.group_y)) * a.columns;
    const float total = float_product<F>(*self.s, t, a.data, a.columns, tile, x);
    if (t.simd == 0u)
      store_expert(a, self.expert, t.group_y, t.group_x * tile_rows + t.lane, total);
  }
};

/// A tile's rows of x and its places.
struct ListedPlaces {
  uint32_t rows[32], places[32];
};
struct MatmulExpertsShared {
  MatmulShared tile;
  ListedPlaces listed;
};
struct MatmulFloatExpertsShared {
  MatmulFloatShared tile;
  ListedPlaces listed;
};
K_FN void load_places(K_CONST const ExpertsArgs& a, K_GROUP ListedPlaces& listed, uint32_t first,
                      uint32_t count, Thread t) {
  if (t.index < count) {
    const uint32_t place = a.places[first + t.index];
    listed.places[t.index] = place;
    listed.rows[t.index] = x_row_of(a, place);
  }
  barrier_group();
}

/// 16 rows a simd × the tile's places, up to 8·column_tiles.
template <uint32_t column_tiles>
struct MatmulExperts {
  K_CONST const ExpertsArgs* a;
  K_GROUP MatmulExpertsShared* s;
  Thread t;
  uint32_t expert, first, count;
  template <class F>
  K_FN void run(K_THREAD const MatmulExperts& self) {
    K_CONST const ExpertsArgs& a = *self.a;
    K_GROUP MatmulExpertsShared& s = *self.s;
    const Thread t = self.t;
    load_places(a, s.listed, self.first, self.count, t);
    const uint32_t half_tile = t.group_x * tile_simds + t.simd;
    const uint32_t inside = half_tile < (a.rows + 15u) / 16u ? 1u : 0u;
    const uint32_t own_tile = inside != 0u ? half_tile / 2u : 0u;
    const TileWork work = {a.data,
                           a.x,
                           s.listed.rows,
                           a.columns,
                           0u,
                           self.count,
                           first_tile_of(a, self.expert) + own_tile,
                           half_tile % 2u * 16u + tile_row(t.lane),
                           inside};
    float total[4 * column_tiles];
    tile_products<F, column_tiles, ListedRow>(work, s.tile, t, total);
    if (inside == 0u) return;
    K_UNROLL
    for (uint32_t i = 0u; i < 4u * column_tiles; ++i) {
      const uint32_t n = 8u * (i / 4u) + 2u * tile_slot(t.lane) + i % 2u;
      if (n < self.count)
        store_expert(a, self.expert, s.listed.places[n],
                     own_tile * tile_rows + work.row + 8u * (i % 4u / 2u), total[i]);
    }
  }
};

/// 32 rows a simd × up to eight of the tile's places.
struct MatmulFloatExperts {
  K_CONST const ExpertsArgs* a;
  K_GROUP MatmulFloatExpertsShared* s;
  Thread t;
  uint32_t expert, first, count;
  template <class F>
  K_FN void run(K_THREAD const MatmulFloatExperts& self) {
    K_CONST const ExpertsArgs& a = *self.a;
    K_GROUP MatmulFloatExpertsShared& s = *self.s;
    const Thread t = self.t;
    load_places(a, s.listed, self.first, self.count, t);
    const uint32_t tiles = (a.rows + tile_rows - 1u) / tile_rows;
    const uint32_t tile = t.group_x * tile_simds + t.simd;
    const uint32_t inside = tile < tiles ? 1u : 0u;
    const FloatWork work = {a.data,
                            a.x_f32,
                            s.listed.rows,
                            a.columns,
                            0u,
                            self.count,
                            first_tile_of(a, self.expert) + (inside != 0u ? tile : 0u),
                            inside};
    float total[8];
    float_products<F, ListedRow>(work, s.tile, t, total);
    if (inside == 0u) return;
    K_UNROLL
    for (uint32_t n = 0u; n < float_tokens; ++n)
      if (n < self.count)
        store_expert(a, self.expert, s.listed.places[n], tile * tile_rows + t.lane, total[n]);
  }
};

}  // namespace assay

/// Lists the places by expert, ascending, and each expert's tiles. Grid: (1, 1).
K_KERNEL(group_experts, assay::GroupExpertsArgs, assay::GroupExpertsShared, assay::Exactly<256>) {
  const uint32_t bins = a.experts + 1u, own = t.simd * bins;
  const uint32_t rounds = (a.tokens * a.used + t.group_size - 1u) / t.group_size;
  for (uint32_t i = t.index; i < assay::grouping_simds * bins; i += t.group_size) s.counts[i] = 0u;
  assay::barrier_group();
  for (uint32_t round = 0u; round < rounds; ++round) {
    const assay::Placed placed = assay::placed_at(a, rounds, round, t);
    const assay::SameId same = assay::same_id(placed.expert, t.lane);
    if (placed.expert != assay::no_expert && same.before == 0u)
      s.counts[own + placed.expert] = s.counts[own + placed.expert] + same.all;
    assay::barrier_group();
  }
  if (t.simd == 0u) assay::list_tiles(a, s, t.lane);
  assay::barrier_group();
  for (uint32_t round = 0u; round < rounds; ++round) {
    const assay::Placed placed = assay::placed_at(a, rounds, round, t);
    const assay::SameId same = assay::same_id(placed.expert, t.lane);
    const bool there = placed.expert != assay::no_expert;
    const uint32_t at = there ? s.counts[own + placed.expert] : 0u;
    if (there) a.places[at + same.before] = placed.place;
    assay::barrier_group();
    if (there && same.before == 0u) s.counts[own + placed.expert] = at + same.all;
    assay::barrier_group();
  }
}

/// Grid: (tiles of 32 rows of an expert, places).
K_KERNEL(matvec_experts, assay::ExpertsArgs, assay::MatvecShared, assay::EarlyAtMost<768>) {
  assay::await_inputs();  // the routing names the weights
  const uint32_t expert = assay::expert_of(a.routing, a.used, t.group_y, a.experts);
  const uint32_t tile = assay::first_tile_of(a, expert) + t.group_x;
  const uint32_t chunks = (a.columns + assay::chunk_columns - 1u) / assay::chunk_columns;
  float total = 0.0f;
  for (uint32_t first = 0u; first < chunks; first += t.group_size / assay::lanes) {
    const uint32_t chunk = first + t.simd;
    float v = 0.0f;
    const assay::ChunkSum op = {
        &s,        t,     a.data,         a.x, assay::x_row_of(a, t.group_y), tile,
        a.columns, chunk, chunk < chunks, &v};
    assay::for_block_format(a.format, op);
    total = assay::add_chunks(s, t, total, v, first, chunks);
  }
  if (t.simd == 0u)
    assay::store_expert(a, expert, t.group_y, t.group_x * assay::tile_rows + t.lane, total);
}
K_KERNEL(matvec_float_experts, assay::ExpertsArgs, assay::MatvecShared, assay::AtMost<768>) {
  const uint32_t expert = assay::expert_of(a.routing, a.used, t.group_y, a.experts);
  const assay::MatvecFloatExperts op = {&a, &s, t, expert};
  assay::for_float_format(a.format, op);
}

/// Grid: (4 · 16 rows of an expert, tiles of up to 32 places).
K_KERNEL(matmul_experts, assay::ExpertsArgs, assay::MatmulExpertsShared,
         assay::Exactly<assay::matmul_group>) {
  const assay::ExpertTile tile = a.tiles[t.group_y];
  if (tile.expert == assay::no_expert) return;  // the whole group
  const assay::MatmulExperts<4u> op = {&a, &s, t, tile.expert, tile.first, tile.end - tile.first};
  assay::for_block_format(a.format, op);
}
/// Tiles of up to eight places.
K_KERNEL(matmul_8_experts, assay::ExpertsArgs, assay::MatmulExpertsShared,
         assay::Exactly<assay::matmul_group>) {
  const assay::ExpertTile tile = a.tiles[t.group_y];
  if (tile.expert == assay::no_expert) return;
  const assay::MatmulExperts<1u> op = {&a, &s, t, tile.expert, tile.first, tile.end - tile.first};
  assay::for_block_format(a.format, op);
}
/// Grid: (tiles of 4 · 32 rows of an expert, tiles · tile / 8): eight places of a tile.
K_KERNEL(matmul_float_experts, assay::ExpertsArgs, assay::MatmulFloatExpertsShared,
         assay::Exactly<assay::matmul_group>) {
  const uint32_t pieces = a.tile / assay::float_tokens;
  const assay::ExpertTile tile = a.tiles[t.group_y / pieces];
  const uint32_t first = tile.first + t.group_y % pieces * assay::float_tokens;
  if (tile.expert == assay::no_expert || first >= tile.end) return;
  const uint32_t left = tile.end - first;
  const assay::MatmulFloatExperts op = {
      &a, &s, t, tile.expert, first, left < assay::float_tokens ? left : assay::float_tokens};
  assay::for_float_format(a.format, op);
}

/// y = x·weight[expert] (+ bias), x (tokens, used, width). Grid: (used·width / group size, tokens).
K_KERNEL(scale_experts, assay::SlotsArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t column = t.group_x * t.group_size + t.index;
  if (column >= a.used * a.width) return;
  const uint32_t place = t.group_y * a.used + column / a.width;
  const uint64_t i = uint64_t(t.group_y) * a.used * a.width + column;
  const uint32_t expert = assay::expert_of(a.routing, a.used, place, a.experts);
  float y = assay::k_float(0x7fc00000u);
  if (expert < a.experts) {
    y = a.x[i] * a.weight[expert];
    if (a.bias != nullptr) y = y + a.bias[uint64_t(expert) * a.width + column % a.width];
  }
  a.y[i] = y;
}

/// y = x·the slot's weight, x (tokens, width). Grid as scale_experts'.
K_KERNEL(spread_experts, assay::SlotsArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t column = t.group_x * t.group_size + t.index;
  if (column >= a.used * a.width) return;
  const float weight = a.routing[uint64_t(t.group_y) * 2u * a.used + a.used + column / a.width];
  a.y[uint64_t(t.group_y) * a.used * a.width + column] =
      assay::k_floor_tiny(a.x[uint64_t(t.group_y) * a.width + column % a.width] * weight);
}

/// y = the sum over slots, in their order, of x (tokens, used, width) times the slot's weight, or of
/// x alone. Grid: (width / group size, tokens).
K_KERNEL(mix_experts, assay::SlotsArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t column = t.group_x * t.group_size + t.index;
  if (column >= a.width) return;
  K_DEV const float* x = a.x + uint64_t(t.group_y) * a.used * a.width + column;
  K_DEV const float* weight = a.routing + uint64_t(t.group_y) * 2u * a.used + a.used;
  float v = a.weighted != 0u ? x[0] * weight[0] : x[0];
  for (uint32_t u = 1u; u < a.used; ++u) {
    const float next = x[uint64_t(u) * a.width];
    v = a.weighted != 0u ? assay::k_fma(next, weight[u], v) : v + next;
  }
  a.y[uint64_t(t.group_y) * a.width + column] = assay::k_floor_tiny(v);
}
