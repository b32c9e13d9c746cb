// Weights packed for the CPU: panels of 16 rows, so that a register's lanes are rows and every row
// walks its own chain of sums in the contract's order. A panel holds, for each group of k
// (docs/formats.md):
//   codes: lines of 64 bytes, byte 4·row + b of line l is code k = 4·l + b of that row;
//          formats of at most four bits put code group/2 + 4·l + b in the high nibble
//   scales: 16 × 16 bits, then 16 × f16 minimum where the format has one, or in super-blocks
//           16 × int8 scale codes, then 16 × u8 minimum codes, with 16 × f16 d (and dmin) before
//           each super-block
// Float formats: for each k, 16 values. Rows beyond the matrix are zeros. Of experts each has panels
// of its own, one expert's after another's.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "op/program.h"
#include "quant/formats.h"

namespace assay::cpu {

inline constexpr uint32_t panel_rows = 16;

/// Sizes of a panel's parts in bytes, known at compile time.
template <class F>
struct PanelLayout {
  static constexpr bool is_float = quant::is_float_format<F>;
  static constexpr bool nibbles = !is_float && F::code_bits <= 4;
  static constexpr bool super_blocks = !is_float && quant::is_super_block<F>;
  static constexpr uint32_t code_bytes =
      is_float ? panel_rows * F::block_bytes : panel_rows * F::group_size / (nibbles ? 2 : 1);
  static constexpr uint32_t arrays = F::has_minimum ? 2 : 1;
  static constexpr uint32_t scale_bytes =
      is_float ? 0 : arrays * panel_rows * (super_blocks ? 1 : 2);
  static constexpr uint32_t group_bytes = code_bytes + scale_bytes;
  static constexpr uint32_t block_bytes = super_blocks ? arrays * panel_rows * 2 : 0;  // d, dmin
  static constexpr uint32_t groups_per_block = is_float ? 1 : F::block_size / F::group_size;

  static constexpr uint64_t panel_bytes(uint64_t columns) {
    return columns / F::block_size * (block_bytes + groups_per_block * group_bytes);
  }
};

template <class F>
requires quant::is_float_format<F>
struct PanelLayout<F> {
  static constexpr uint32_t group_bytes = panel_rows * F::block_bytes;
  static constexpr uint64_t panel_bytes(uint64_t columns) { return columns * group_bytes; }
};

/// The packed matrices, of equal shape, of a weight's experts; of most weights one. `data` is 64-byte
/// aligned.
struct Panels {
  uint32_t type = 0;
  uint32_t experts = 1;
  uint64_t rows = 0, columns = 0;  // of each
  uint64_t panel_bytes = 0;
  std::unique_ptr<uint8_t, void (*)(uint8_t*)> data{nullptr, nullptr};

  uint64_t per_expert() const { return (rows + panel_rows - 1) / panel_rows; }
  uint64_t count() const { return experts * per_expert(); }
  const uint8_t* panel(uint64_t i) const { return data.get() + i * panel_bytes; }
  const uint8_t* expert(uint64_t e) const { return panel(e * per_expert()); }
};

/// The shape of a weight's panels, without room for them.
Panels shape_of_panels(const op::Weight& weight, uint32_t experts = 1);
/// Allocates room for a weight's panels; data is null where memory is short.
Panels allocate_panels(const op::Weight& weight, uint32_t experts = 1);
/// Packs panels [first, last).
void pack(const op::Weight& weight, Panels& panels, uint64_t first, uint64_t last);

}  // namespace assay::cpu
