#include "cpu/panel.h"

#include <cstdlib>
#include <cstring>

namespace assay::cpu {

namespace {

/// The scales of all rows, 16 bits each, then their minima; zeros where there is no block.
template <class F>
void pack_halves(const uint8_t* block, uint32_t group, uint32_t row, uint8_t* out) {
  const uint16_t scale = block ? F::scale_bits(block, group) : uint16_t(0);
  std::memcpy(out + 2 * row, &scale, 2);
  if constexpr (F::has_minimum) {
    const uint16_t minimum = block ? F::minimum_bits(block) : uint16_t(0);
    std::memcpy(out + 2 * (panel_rows + row), &minimum, 2);
  }
}

/// Writes group `group` of the block at `block` (null: a row beyond the matrix) as row `row` of a
/// panel's group.
template <class F>
void pack_group(const uint8_t* block, uint32_t group, uint32_t row, uint8_t* out) {
  using Layout = PanelLayout<F>;
  constexpr uint32_t low = Layout::nibbles ? F::group_size / 2 : F::group_size;
  for (uint32_t k = 0; k < low; ++k) {
    uint32_t code = 0;
    if (block) {
      code = F::code(block, group * F::group_size + k);
      if constexpr (Layout::nibbles) code |= F::code(block, group * F::group_size + low + k) << 4;
    }
    out[64 * (k / 4) + 4 * row + k % 4] = uint8_t(code);
  }
  uint8_t* scales = out + Layout::code_bytes;
  if constexpr (Layout::super_blocks) {
    scales[row] = block ? uint8_t(F::scale_code(block, group)) : 0;
    if constexpr (F::has_minimum)
      scales[panel_rows + row] = block ? uint8_t(F::minimum_code(block, group)) : 0;
  } else {
    pack_halves<F>(block, group, row, scales);
  }
}

template <class F>
void pack_panel(const op::Weight& weight, const Panels& panels, uint64_t panel, uint8_t* out) {
  const uint64_t blocks = weight.columns / F::block_size;
  const uint64_t expert = panel / panels.per_expert(), within = panel % panels.per_expert();
  for (uint32_t row = 0; row < panel_rows; ++row) {
    const uint64_t r = within * panel_rows + row;
    const uint8_t* source = r < panels.rows ? weight.row(expert * panels.rows + r).data() : nullptr;
    uint8_t* target = out;
    for (uint64_t b = 0; b < blocks; ++b) {
      const uint8_t* block = source ? source + b * F::block_bytes : nullptr;
      if constexpr (quant::is_float_format<F>) {
        if (block)
          std::memcpy(target + row * F::block_bytes, block, F::block_bytes);
        else
          std::memset(target + row * F::block_bytes, 0, F::block_bytes);
        target += PanelLayout<F>::group_bytes;
      } else {
        using Layout = PanelLayout<F>;
        if constexpr (Layout::super_blocks) {
          pack_halves<F>(block, 0, row, target);
          target += Layout::block_bytes;
        }
        for (uint32_t group = 0; group < Layout::groups_per_block;
             ++group, target += Layout::group_bytes)
          pack_group<F>(block, group, row, target);
      }
    }
  }
}

}  // namespace

Panels shape_of_panels(const op::Weight& weight, uint32_t experts) {
  Panels panels;
  panels.type = weight.type;
  panels.experts = experts;
  panels.rows = weight.rows / experts;
  panels.columns = weight.columns;
  quant::visit(weight.type, [&]<class F>() {
    panels.panel_bytes = PanelLayout<F>::panel_bytes(weight.columns);
  });
  return panels;
}

Panels allocate_panels(const op::Weight& weight, uint32_t experts) {
  Panels panels = shape_of_panels(weight, experts);
  const uint64_t bytes = (panels.count() * panels.panel_bytes + 63) / 64 * 64;
  panels.data = {static_cast<uint8_t*>(std::aligned_alloc(64, bytes)),
                 [](uint8_t* p) { std::free(p); }};
  return panels;
}

void pack(const op::Weight& weight, Panels& panels, uint64_t first, uint64_t last) {
  quant::visit(weight.type, [&]<class F>() {
    for (uint64_t panel = first; panel < last; ++panel)
      pack_panel<F>(weight, panels, panel, panels.data.get() + panel * panels.panel_bytes);
  });
}

}  // namespace assay::cpu
