// Both chains over packed panels (cpu/panel.h), for the instruction set `Simd` of the namespace
// that includes this file; chains_simd.h includes it once for each. `Pairs`: the minimum codes of
// two neighbouring groups side by side, 16 rows × 2 × 16 bits. No lambdas: they would be
// compiled for the file's instruction set, not the region's.

/// total[c] = row · x[c] for the 16 rows of a panel.
template <Chain chain, Layout layout, int columns>
static void tile(const uint8_t* panel, uint64_t blocks, const Row* x, Simd::F32* total) {
  constexpr BlockLayout at = block_layout(layout);
  constexpr uint32_t rows = cpu::panel_rows;
  Simd::F32 v[columns];
  for (int c = 0; c < columns; ++c) total[c] = v[c] = Simd::zero();
  for (uint64_t b = 0; b < blocks; ++b, panel += block_bytes) {
    const uint16_t* d = reinterpret_cast<const uint16_t*>(panel);
    for (uint32_t g = 0; g < groups; ++g) {
      const uint64_t j = groups * b + g;
      const uint8_t* group = panel + at.codes + g * at.codes_step;
      __builtin_prefetch(group + 2048);
      const int8_t* codes[columns];
      for (int c = 0; c < columns; ++c) codes[c] = x[c].quantised.codes + 32 * j;
      Simd::I32 dot[columns];
      Simd::dot_nibbles<columns, 4, 0>(group, codes, nullptr, dot);
      const Simd::F32 scale =
          Simd::mul(Simd::load_f16(d), Simd::load_u8(panel + at.scales + g * at.scales_step));
      Simd::F32 minimum;
      if constexpr (chain == Chain::a)
        minimum = Simd::negate(Simd::mul(Simd::load_f16(d + rows),
                                         Simd::load_u8(panel + at.minima + g * at.scales_step)));
      for (int c = 0; c < columns; ++c) {
        v[c] = Simd::fma(Simd::mul(Simd::to_float(dot[c]), scale),
                         Simd::set(x[c].quantised.scale[j]), v[c]);
        if constexpr (chain == Chain::a)
          v[c] = Simd::fma(minimum, Simd::set(x[c].quantised.scaled_sum[j]), v[c]);
      }
    }
    if constexpr (chain == Chain::a2) {
      Simd::I32 sums[columns];
      for (int c = 0; c < columns; ++c) sums[c] = zero_sums();
      for (uint32_t p = 0; p < groups / 2; ++p) {
        const uint8_t* minima = panel + at.minima + 2 * p * at.scales_step;
        const Pairs pairs = layout == Layout::aligned ? load_pairs(minima)
                                                      : interleave(minima, minima + at.scales_step);
        for (int c = 0; c < columns; ++c)
          sums[c] = add_products(sums[c], pairs, x[c].minimum_pairs[groups / 2 * b + p]);
      }
      const Simd::F32 minimum = Simd::load_f16(d + rows);
      for (int c = 0; c < columns; ++c)
        v[c] = Simd::fma(Simd::negate(Simd::mul(minimum, Simd::set(x[c].minimum_scale[b]))),
                         Simd::to_float(sums[c]), v[c]);
    }
    for (int c = 0; c < columns; ++c) {
      total[c] = Simd::add(total[c], v[c]);
      v[c] = Simd::zero();
    }
  }
}

/// y[c·rows + r] for `count` rows of activations, a multiple of `columns`; rows a multiple of 16.
template <Chain chain, Layout layout, int columns>
static void matmul(const uint8_t* panels, uint64_t rows, uint64_t blocks, const Row* x,
                   uint64_t count, float* y) {
  for (uint64_t r = 0; r < rows; r += cpu::panel_rows, panels += blocks * block_bytes)
    for (uint64_t c = 0; c < count; c += columns) {
      Simd::F32 total[columns];
      tile<chain, layout, columns>(panels, blocks, x + c, total);
      for (int i = 0; i < columns; ++i) Simd::store(y + (c + i) * rows + r, total[i]);
    }
}

template <Chain chain, Layout layout>
static constexpr MatmulOfWidth by_width = {matmul<chain, layout, 1>, matmul<chain, layout, 4>,
                                           matmul<chain, layout, 6>};
/// In the order of `variants`.
static constexpr std::array matmuls = {
    by_width<Chain::a, Layout::panel>, by_width<Chain::a2, Layout::panel>,
    by_width<Chain::a, Layout::aligned>, by_width<Chain::a2, Layout::aligned>};
