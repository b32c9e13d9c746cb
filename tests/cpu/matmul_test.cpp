// Matmul kernels against the scalar contract, bit for bit: every format, instruction set, shape.
#include "data.h"

namespace assay::tests {
namespace {

constexpr uint64_t row_counts[] = {1, 31, 32, 33, 255, 257};
constexpr uint32_t token_counts[] = {1, 2, 3, 4, 5, 7, 9, 33};

/// Columns: blocks × {1, 2, 3, 5} and past the chunk of 256; any number for the float formats.
std::vector<uint64_t> column_counts(uint32_t type) {
  const uint64_t block = quant::info(type).block_size;
  if (block == 1) return {1, 31, 32, 33, 255, 256, 257, 509};
  if (block == 32) return {32, 64, 96, 160, 256, 288, 544};
  if (block == 64) return {64, 192, 256, 320, 576};
  return {256, 512, 768, 1280};
}

struct Case {
  Matrix matrix;
  std::vector<std::vector<float>> x;  // (tokens, columns)
  std::vector<contract::Row> quantised;
  std::vector<float> bias;

  Case(uint32_t type, uint64_t rows, uint64_t columns, uint32_t tokens, uint32_t seed)
      : Case(type, rows, columns, tokens, Random(seed)) {}

 private:
  Case(uint32_t type, uint64_t rows, uint64_t columns, uint32_t tokens, Random random)
      : matrix(random_matrix(type, rows, columns, random)), bias(random.floats(rows)) {
    for (uint32_t t = 0; t < tokens; ++t) {
      x.push_back(random.floats(columns));
      quantised.push_back(contract::quantise(x.back()));
    }
  }
};

/// want[token][row] by the contract.
std::vector<std::vector<float>> expected(const Case& c, bool f32) {
  std::vector<std::vector<float>> want(c.x.size());
  for (uint64_t r = 0; r < c.matrix.weight.rows; ++r) {
    const std::vector<float> w = f32 ? contract::decoded(c.matrix.weight, r) : std::vector<float>();
    for (size_t t = 0; t < c.x.size(); ++t)
      want[t].push_back(f32 ? contract::dot_f32(w, c.x[t].data())
                            : contract::dot(c.matrix.weight, r, c.quantised[t]));
  }
  return want;
}

/// Every rows × tokens of the lists is a corner of one case, so the same expectation serves all:
/// a row's result must depend neither on the other rows nor on the other tokens.
void check_corners(uint32_t type, uint64_t columns, bool f32) {
  const uint32_t seed = 1000 * type + uint32_t(columns);
  Case c(type, 257, columns, 33, seed);
  const auto want = expected(c, f32);
  for (const cpu::Kernels* kernels : all_kernels())
    for (uint64_t rows : row_counts)
      for (uint32_t tokens : token_counts) {
        SCOPED_TRACE(testing::Message()
                     << kernels->isa << " format " << type << " rows " << rows << " columns "
                     << columns << " tokens " << tokens << " seed " << seed);
        std::vector<contract::Row> quantised(c.quantised.begin(), c.quantised.begin() + tokens);
        const std::vector<std::vector<float>> x(c.x.begin(), c.x.begin() + tokens);
        const auto y = f32 ? multiply_f32(*kernels, c.matrix.top(rows), x)
                           : multiply(*kernels, c.matrix.top(rows), quantised);
        for (uint32_t t = 0; t < tokens; ++t)
          ASSERT_EQ(
              difference(std::span(y).subspan(t * rows, rows), std::span(want[t]).subspan(0, rows)),
              "")
              << "token " << t;
      }
}

TEST(Matmul, BlockFormatsHaveTheContractsBitsAtEveryShapeAndBatch) {
  for (uint32_t type : block_formats)
    for (uint64_t columns : column_counts(type)) check_corners(type, columns, false);
}

TEST(Matmul, FloatFormatsHaveTheContractsBitsAtEveryShapeAndBatch) {
  for (uint32_t type : float_formats)
    for (uint64_t columns : column_counts(type)) check_corners(type, columns, true);
}

TEST(Matmul, BlockFormatsUnderContractF32HaveItsBits) {
  for (uint32_t type : block_formats)
    for (uint64_t columns : {column_counts(type).front(), column_counts(type).back()})
      check_corners(type, columns, true);
}

/// 509 rows is prime: 31 panels and 13 rows. Pieces of panels are claimed in any order by threads.
TEST(Matmul, PanelRangesGiveTheSameBitsAndWriteNothingElse) {
  constexpr uint64_t rows = 509, stride = 515;
  constexpr uint32_t tokens = 3;
  const float sentinel = k_float(0x7fc12345u);
  for (uint32_t type : all_formats) {
    const bool f32 = quant::info(type).block_size == 1;
    Case c(type, rows, 256, tokens, 77 + type);
    const auto want = expected(c, f32);
    const cpu::Panels panels = packed(c.matrix.weight);
    const auto rows_of_x = views(c.quantised);
    const std::vector<const float*> plain = {c.x[0].data(), c.x[1].data(), c.x[2].data()};
    for (const cpu::Kernels* kernels : all_kernels())
      for (const auto& [first, last] :
           {std::pair<uint64_t, uint64_t>{0, 32}, {3, 4}, {31, 32}, {7, 31}, {5, 5}}) {
        SCOPED_TRACE(testing::Message() << kernels->isa << " format " << type << " panels " << first
                                        << " to " << last << " seed " << 77 + type);
        std::vector<float> y(tokens * stride, sentinel);
        if (f32)
          kernels->matmul_f32(type, panels.data.get(), panels.panel_bytes, rows, 256, first, last,
                              plain.data(), tokens, nullptr, rows_of(y, tokens, stride).data());
        else
          kernels->matmul(type, panels.data.get(), panels.panel_bytes, rows, 256, first, last,
                          rows_of_x.data(), tokens, nullptr, rows_of(y, tokens, stride).data());
        for (uint64_t t = 0; t < tokens; ++t)
          for (uint64_t r = 0; r < stride; ++r) {
            const bool inside = r >= 16 * first && r < 16 * last && r < rows;
            ASSERT_EQ(k_bits(y[t * stride + r]), k_bits(inside ? want[t][r] : sentinel))
                << "token " << t << " row " << r;
          }
      }
  }
}

TEST(Matmul, BiasIsOneMoreAddition) {
  for (uint32_t type : all_formats)
    for (uint64_t rows : {uint64_t(1), uint64_t(16), uint64_t(33)}) {
      Case c(type, rows, 512, 5, 5 + type);
      const bool f32 = quant::info(type).block_size == 1;
      auto want = expected(c, f32);
      for (auto& token : want)
        for (uint64_t r = 0; r < rows; ++r) token[r] = token[r] + c.bias[r];
      for (const cpu::Kernels* kernels : all_kernels()) {
        const auto y = f32 ? multiply_f32(*kernels, c.matrix.weight, c.x, c.bias.data())
                           : multiply(*kernels, c.matrix.weight, c.quantised, c.bias.data());
        for (size_t t = 0; t < want.size(); ++t)
          ASSERT_EQ(difference(std::span(y).subspan(t * rows, rows), want[t]), "")
              << kernels->isa << " format " << type << " rows " << rows << " seed " << 5 + type;
      }
    }
}

/// The head is a matmul of the vocabulary's rows: the tied embedding in each format, one token.
TEST(LmHead, HasTheContractsBitsForAVocabularyOfPrimeSize) {
  for (uint32_t type : all_formats) {
    const bool f32 = quant::info(type).block_size == 1;
    Case c(type, 1021, 256, 2, 90 + type);
    const auto want = expected(c, f32);
    for (const cpu::Kernels* kernels : all_kernels()) {
      const auto y = f32 ? multiply_f32(*kernels, c.matrix.weight, c.x)
                         : multiply(*kernels, c.matrix.weight, c.quantised);
      for (size_t t = 0; t < want.size(); ++t)
        ASSERT_EQ(difference(std::span(y).subspan(t * 1021, 1021), want[t]), "")
            << kernels->isa << " format " << type << " seed " << 90 + type;
    }
  }
}

}  // namespace
}  // namespace assay::tests
