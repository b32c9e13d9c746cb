// Panels hold what the file holds: read back by the layout written in cpu/panel.h.
#include "data.h"

namespace assay::tests {
namespace {

constexpr uint32_t lanes = 16;  // rows of a panel

uint16_t half_at(const uint8_t* p, uint32_t i) {
  uint16_t half;
  std::memcpy(&half, p + 2 * i, 2);
  return half;
}

/// Weight (row, k) of a panel by the layout, as quant::decode would give it.
template <class F>
float unpacked(const uint8_t* panel, uint32_t row, uint64_t k) {
  if constexpr (quant::is_float_format<F>) {
    return F::value(panel + (k * lanes + row) * F::block_bytes);
  } else {
    constexpr bool nibbles = F::code_bits <= 4, super = F::block_size == 256;
    constexpr uint32_t arrays = F::has_minimum ? 2 : 1;
    constexpr uint32_t code_bytes = lanes * F::group_size / (nibbles ? 2 : 1);
    constexpr uint32_t group_bytes = code_bytes + arrays * lanes * (super ? 1 : 2);
    constexpr uint32_t block_bytes = super ? arrays * lanes * 2 : 0;
    constexpr uint32_t groups = F::block_size / F::group_size;
    const uint8_t* block = panel + k / F::block_size * (block_bytes + groups * group_bytes);
    const uint8_t* group = block + block_bytes + k % F::block_size / F::group_size * group_bytes;
    const uint32_t i = uint32_t(k % F::group_size),
                   low = nibbles ? F::group_size / 2 : F::group_size;
    const uint8_t byte = group[64 * (i % low / 4) + 4 * row + i % 4];
    const int32_t code = nibbles ? (i < low ? byte & 15 : byte >> 4) : byte;
    const uint8_t* scales = group + code_bytes;
    float scale, minimum = 0;
    if constexpr (super) {
      scale = k_f16_to_f32(half_at(block, row)) * F::scale_unit;
      scale *= F::has_minimum ? float(scales[row]) : float(int8_t(scales[row]));
      if constexpr (F::has_minimum)
        minimum = -(k_f16_to_f32(half_at(block, lanes + row)) * float(scales[lanes + row]));
    } else {
      const uint16_t bits = half_at(scales, row);
      scale = F::scale_is_bf16 ? k_bf16_to_f32(bits) : k_f16_to_f32(bits);
      if constexpr (F::has_minimum) minimum = k_f16_to_f32(half_at(scales, lanes + row));
    }
    const float value = float(quant::value_of<F>(uint32_t(code)));
    return F::has_minimum ? std::fmaf(scale, value, minimum) : scale * value;
  }
}

TEST(Panels, EveryWeightReadsBackAsDecodeGivesIt) {
  for (uint32_t type : all_formats) {
    const uint64_t block = quant::info(type).block_size;
    for (uint64_t rows : {1u, 15u, 16u, 17u, 33u})
      for (uint64_t columns : {block, 3 * block, block == 1 ? 509 : 2 * block}) {
        Random random(type + uint32_t(rows));
        const Matrix matrix = random_matrix(type, rows, columns, random);
        const cpu::Panels panels = packed(matrix.weight);
        ASSERT_EQ(panels.count(), (rows + 15) / 16);
        ASSERT_EQ(reinterpret_cast<uintptr_t>(panels.data.get()) % 64, 0u);
        quant::visit(type, [&]<class F>() {
          for (uint64_t r = 0; r < panels.count() * lanes; ++r) {
            const auto want = r < rows ? contract::decoded(matrix.weight, r) : std::vector<float>();
            for (uint64_t k = 0; k < columns; ++k) {
              const float got = unpacked<F>(panels.panel(r / lanes), uint32_t(r % lanes), k);
              if (r < rows)
                ASSERT_EQ(k_bits(got), k_bits(want[k]))
                    << "format " << type << " row " << r << " column " << k;
              else
                ASSERT_EQ(got, 0.0f) << "padding of format " << type << " row " << r;
            }
          }
        });
      }
  }
}

/// Rows are packed by several threads, a few panels each: the same bytes in any pieces.
TEST(Panels, PackInPiecesAsInOne) {
  for (uint32_t type : all_formats) {
    Random random(type);
    const Matrix matrix = random_matrix(type, 83, 256, random);
    const cpu::Panels whole = packed(matrix.weight);
    cpu::Panels pieces = cpu::allocate_panels(matrix.weight);
    for (const auto& [first, last] : {std::pair<uint64_t, uint64_t>{4, 6}, {0, 1}, {1, 4}})
      cpu::pack(matrix.weight, pieces, first, last);
    EXPECT_EQ(std::memcmp(whole.data.get(), pieces.data.get(), whole.count() * whole.panel_bytes),
              0)
        << "format " << type;
  }
}

}  // namespace
}  // namespace assay::tests
