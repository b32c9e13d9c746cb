// Converts a weight from the file's layout to the layout that kernels read (kernel/weights.h).
#pragma once

#include <cstdint>
#include <span>

#include "op/program.h"

namespace assay::gpu {

/// Tiles of 32 rows, and the bytes of each. Each of several experts has tiles of its own.
uint64_t tile_count(const op::Weight& weight, uint32_t experts = 1);
uint64_t tile_bytes(const op::Weight& weight);

/// Writes tiles [first, last) to `out`, which has exactly their size. Rows beyond the weight's or
/// the expert's last row are zeros.
void pack_tiles(const op::Weight& weight, uint64_t first, uint64_t last, std::span<uint8_t> out,
                uint32_t experts = 1);

}  // namespace assay::gpu
