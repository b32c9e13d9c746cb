// The layout of kernel/weights.h: what kernels read is what the file says, for every format and
// every way a matrix can end within a tile or a chunk.
#include "gpu/pack.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "../cpu/data.h"
#include "kernel/weights.h"

namespace assay {
namespace {

using tests::Random;

template <class F>
void expect_same_weights(const tests::Matrix& matrix, const std::vector<uint8_t>& packed) {
  const op::Weight& weight = matrix.weight;
  std::vector<float> decoded(weight.columns);
  for (uint32_t row = 0; row < weight.rows; ++row) {
    ASSERT_TRUE(quant::decode_row(weight.type, weight.row(row), decoded));
    for (uint32_t column = 0; column < weight.columns; ++column) {
      float got = 0;
      if constexpr (quant::is_float_format<F>)
        got = load_float<F>(packed.data(), uint32_t(weight.columns), row / tile_rows, column,
                            row % tile_rows);
      else
        got = load_weight<F>(packed.data(), uint32_t(weight.columns), row, column);
      ASSERT_EQ(k_bits(got), k_bits(decoded[column]))
          << quant::name_of<F> << " row " << row << " column " << column;
    }
  }
}

/// The codes that tiles read are those that mat-vecs read.
template <class F>
void expect_same_pairs(const tests::Matrix& matrix, const std::vector<uint8_t>& packed) {
  if constexpr (!quant::is_float_format<F>) {
    const auto columns = uint32_t(matrix.weight.columns);
    for (uint32_t chunk = 0; chunk * chunk_columns < columns; ++chunk) {
      const uint32_t quanta = chunk_quanta(columns, chunk);
      const uint8_t* p = packed_chunk<F>(packed.data(), columns, 0, chunk);
      for (uint32_t block = 0; block < quanta; ++block)
        for (uint32_t row = 0; row < tile_rows; ++row) {
          const RawBlock raw = load_block<F>(p, quanta, block, row);
          for (uint32_t w = 0; w < 4; ++w) {
            const CodePair pair = load_code_pair<F>(p, quanta, block, row, w);
            ASSERT_EQ(pair.low, code_word<F>(raw, w, 0));
            ASSERT_EQ(pair.high, code_word<F>(raw, w, 1));
          }
        }
    }
  }
}

TEST(Pack, KernelsReadWhatTheFileSays) {
  Random random(1);
  for (uint32_t type : tests::all_formats)
    for (const uint32_t rows : {1u, 31u, 32u, 33u, 70u})
      for (const uint32_t blocks : {1u, 2u, 3u, 9u}) {
        const quant::Info info = quant::info(type);
        // Float formats have no blocks: also rows that end within a group of four.
        const uint32_t columns = info.block_size == 1 ? 31 * blocks : info.block_size * blocks;
        const tests::Matrix matrix = tests::random_matrix(type, rows, columns, random);
        const uint64_t tiles = gpu::tile_count(matrix.weight);
        std::vector<uint8_t> packed(tiles * gpu::tile_bytes(matrix.weight));
        gpu::pack_tiles(matrix.weight, 0, tiles, packed);
        quant::visit(type, [&]<class F>() {
          expect_same_weights<F>(matrix, packed);
          expect_same_pairs<F>(matrix, packed);
        });
        if (HasFatalFailure()) return;
      }
}

/// A scale of a super-block's group takes a byte, and 16 of them are held where there are 8;
/// entries of a codebook for four or eight weights and digits of base 3 become codes of four, three
/// or two bits.
double most_of(uint32_t type) {
  switch (type) {
    case quant::IQ1_S::id:
      return 2.28;
    case quant::IQ1_M::id:
      return 2.04;
    case quant::IQ2_XXS::id:
      return 1.73;
    case quant::IQ2_XS::id:
      return 1.55;
    case quant::TQ1_0::id:
      return 1.52;
    case quant::IQ3_XXS::id:
      return 1.49;
    case quant::IQ2_S::id:
      return 1.4;
    case quant::IQ3_S::id:
      return 1.33;
    case quant::TQ2_0::id:
      return 1.25;
    case quant::Q2_K::id:
      return 1.2;
    case quant::NVFP4::id:  // a scale takes two bytes
      return 1.12;
    default:
      return 1.08;
  }
}

TEST(Pack, APackedWeightIsHardlyLargerThanTheFile) {
  Random random(2);
  for (uint32_t type : tests::all_formats) {
    const tests::Matrix matrix = tests::random_matrix(type, 64, 512, random);
    const double ratio =
        double(2 * gpu::tile_bytes(matrix.weight)) / double(matrix.weight.data.size());
    EXPECT_LE(ratio, most_of(type)) << quant::info(type).name;
    EXPECT_GE(ratio, 1.0) << quant::info(type).name;
  }
}

TEST(Pack, PiecesAreTheWhole) {
  Random random(3);
  const tests::Matrix matrix = tests::random_matrix(quant::Q6_K::id, 100, 512, random);
  const uint64_t bytes = gpu::tile_bytes(matrix.weight);
  std::vector<uint8_t> whole(4 * bytes), pieces(4 * bytes);
  gpu::pack_tiles(matrix.weight, 0, 4, whole);
  for (uint64_t i = 0; i < 4; ++i)
    gpu::pack_tiles(matrix.weight, i, i + 1, std::span(pieces).subspan(i * bytes, bytes));
  EXPECT_EQ(whole, pieces);
}

// Experts have tiles of their own, whatever rows they end with.
TEST(Pack, EachExpertIsPackedAsAMatrixOfItsOwn) {
  Random random(4);
  for (const uint32_t type : {uint32_t(quant::Q4_K::id), uint32_t(quant::F16::id)})
    for (const uint32_t rows : {1u, 32u, 33u, 70u}) {
      const tests::Matrix matrix = tests::random_matrix(type, 3 * rows, 512, random);
      const uint64_t bytes = gpu::tile_bytes(matrix.weight);
      const uint64_t tiles = (rows + 31) / 32;
      ASSERT_EQ(gpu::tile_count(matrix.weight, 3), 3 * tiles);
      std::vector<uint8_t> together(3 * tiles * bytes), alone(tiles * bytes);
      gpu::pack_tiles(matrix.weight, 0, 3 * tiles, together, 3);
      for (uint64_t expert = 0; expert < 3; ++expert) {
        op::Weight one = matrix.top(rows);
        one.data = matrix.weight.data.subspan(expert * one.data.size(), one.data.size());
        gpu::pack_tiles(one, 0, tiles, alone);
        EXPECT_TRUE(std::ranges::equal(
            alone, std::span(together).subspan(expert * alone.size(), alone.size())));
      }
    }
}

}  // namespace
}  // namespace assay
