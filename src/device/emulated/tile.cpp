// The exact integer tiles of the kernel language, as the emulated grid makes them: each lane gives
// its words, then sums its four elements from everyone's.
#include "device/emulated/group.h"

namespace assay {

namespace {

using emulated::TileMap;

// Apple's 8 × 8 fragment: lanes in quads of four by four, two neighbouring columns each.
uint32_t row_in_quads(uint32_t lane) {
  return ((lane / 4) & 4) + lane / 2 % 4;
}
uint32_t slot_in_quads(uint32_t lane) {
  return ((lane / 4) & 2) + lane % 2;
}

TileMap map_of_group() {
  return emulated::current_group()->tile_map();
}

/// For each (row, slot) of the first eight rows: the lane that holds it.
struct Lanes {
  uint8_t of[8][4];
};
Lanes lanes_of(TileMap map) {
  Lanes lanes{};
  for (uint32_t lane = 0; lane < 32; ++lane) {
    if (map == TileMap::quads)
      lanes.of[row_in_quads(lane)][slot_in_quads(lane)] = uint8_t(lane);
    else
      lanes.of[lane / 4][lane % 4] = uint8_t(lane);
  }
  return lanes;
}

TileSums products(const uint32_t* all, uint32_t halves, const uint32_t* x, uint32_t stride,
                  uint32_t lane) {
  static const Lanes maps[2] = {lanes_of(TileMap::rows_of_four), lanes_of(TileMap::quads)};
  const auto& lanes = maps[map_of_group() == TileMap::quads ? 1 : 0].of[tile_row(lane)];
  TileSums sums;
  for (uint32_t e = 0; e < 4; ++e) {
    const uint32_t* column = x + (2 * tile_slot(lane) + e % 2) * stride;
    int32_t sum = 0;
    for (uint32_t half = 0; half < halves; ++half)
      for (uint32_t slot = 0; slot < 4;
           ++slot)  // word 0 and 2: the first eight rows, 1 and 3: the others
        sum = k_dot4_i8(all[4 * lanes[slot] + 2 * half + e / 2], column[4 * half + slot], sum);
    sums.sum[e] = float(sum);
  }
  return sums;
}

}  // namespace

uint32_t tile_row(uint32_t lane) {
  return map_of_group() == TileMap::quads ? row_in_quads(lane) : lane / 4;
}
uint32_t tile_slot(uint32_t lane) {
  return map_of_group() == TileMap::quads ? slot_in_quads(lane) : lane % 4;
}

TileSums tile_mma_32(uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, const uint32_t* x,
                     uint32_t stride, uint32_t lane, const char* file, int line) {
  const uint32_t words[4] = {a0, a1, a2, a3};
  const uint32_t* all = emulated::current_group()->exchange(words, 4, {"tile_mma_32", file, line});
  return products(all, 2, x, stride, lane);
}

TileSums tile_mma_16(uint32_t a0, uint32_t a1, const uint32_t* x, uint32_t stride, uint32_t lane,
                     const char* file, int line) {
  const uint32_t words[2] = {a0, a1};
  const uint32_t* all = emulated::current_group()->exchange(words, 2, {"tile_mma_16", file, line});
  return products(all, 1, x, stride, lane);
}

}  // namespace assay
