// Encoding against PyPI's `gguf` and, for IQ4_NL, ggml: the blocks that tests/quant/make_encoded.py
// stored, bit by bit.
#include "quant/encode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "quant/formats.h"

namespace assay::quant {
namespace {

/// n weights, then their blocks.
struct Golden {
  std::vector<float> row;
  std::vector<uint8_t> blocks;
};

template <class F>
Golden read_golden() {
  std::ifstream in(
      std::string(ASSAY_SOURCE_DIR) + "/tests/golden/encoded_" + std::string(name_of<F>) + ".bin",
      std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
  const uint64_t blocks = bytes.size() / (4 * F::block_size + F::block_bytes);
  Golden golden;
  golden.row.resize(blocks * F::block_size);
  if (blocks) std::memcpy(golden.row.data(), bytes.data(), 4 * golden.row.size());
  golden.blocks.assign(bytes.begin() + long(4 * golden.row.size()), bytes.end());
  return golden;
}

template <class F>
void expect_golden() {
  const Golden golden = read_golden<F>();
  ASSERT_GE(golden.row.size(), 1536u) << name_of<F>;
  ASSERT_EQ(golden.blocks.size(), golden.row.size() / F::block_size * F::block_bytes) << name_of<F>;
  std::vector<uint8_t> found(golden.blocks.size());
  EXPECT_TRUE(encode_row(F::id, golden.row, found)) << name_of<F>;
  for (uint64_t i = 0; i < found.size(); ++i)
    ASSERT_EQ(found[i], golden.blocks[i])
        << name_of<F> << " block " << i / F::block_bytes << " byte " << i % F::block_bytes;
}

TEST(Encode, GivesTheBitsOfGguf) {
  expect_golden<F16>();
  expect_golden<BF16>();
  expect_golden<Q8_0>();
  expect_golden<Q4_0>();
  expect_golden<Q4_1>();
  expect_golden<Q5_0>();
  expect_golden<Q5_1>();
}

TEST(Encode, GivesTheBitsOfGgmlWhereGgufHasNone) {
  expect_golden<IQ4_NL>();
  expect_golden<Q4_K>();
  expect_golden<Q5_K>();
  expect_golden<Q6_K>();
}

TEST(Encode, EveryNamedFormatIsEncodedAndNoOther) {
  const std::string names = ", " + encodable_names() + ",";
  uint32_t count = 0;
  [&]<class... F>(List<F...>) {
    const auto check = [&](uint32_t id, std::string_view name) {
      EXPECT_EQ(can_encode(id), names.find(", " + std::string(name) + ",") != names.npos) << name;
      count += can_encode(id);
    };
    (check(F::id, name_of<F>), ...);
  }(All{});
  EXPECT_GE(count, 12u);
  EXPECT_FALSE(can_encode(9999));
}

TEST(Encode, DecodingComesWithinHalfAStep) {
  // A step of Q8_0 is max/127; f16 adds 2^-11 of the weight itself.
  const Golden golden = read_golden<Q8_0>();
  std::vector<float> back(golden.row.size());
  ASSERT_TRUE(decode_row(Q8_0::id, golden.blocks, back));
  for (uint64_t block = 10; block < 48; ++block) {
    float most = 0;
    for (uint64_t i = 0; i < 32; ++i) most = std::max(most, std::fabs(golden.row[32 * block + i]));
    if (most / 127 < 0x1p-14f) continue;  // the scale is subnormal in f16
    for (uint64_t i = 32 * block; i < 32 * block + 32; ++i)
      EXPECT_LE(std::fabs(back[i] - golden.row[i]), most * (0.5f / 127 + 0x1p-10f)) << block;
  }
}

TEST(Encode, SaysWhatAFormatCannotHold) {
  const auto held = [](uint32_t id, float value) {
    std::vector<float> row(32, value);
    std::vector<uint8_t> out(128);
    const Info format = info(id);
    return encode_row(id, row, std::span(out).first(32 / format.block_size * format.block_bytes));
  };
  EXPECT_TRUE(held(F16::id, 65504));
  EXPECT_FALSE(held(F16::id, 65520));  // rounds to infinity
  EXPECT_TRUE(held(BF16::id, 3e38f));
  EXPECT_FALSE(held(BF16::id, std::numeric_limits<float>::max()));  // above the largest BF16
  EXPECT_TRUE(held(F32::id, std::numeric_limits<float>::max()));
  EXPECT_TRUE(held(Q8_0::id, 65504.0f * 127));
  EXPECT_FALSE(held(Q8_0::id, 65520.0f * 127));
  EXPECT_FALSE(held(Q4_1::id, 70000));  // its minimum
}

TEST(Encode, ABlockBelowEveryScaleIsZero) {
  for (const uint32_t id : {Q8_0::id, Q4_0::id, Q5_0::id, Q4_1::id, Q5_1::id, IQ4_NL::id, Q4_K::id,
                            Q5_K::id, Q6_K::id}) {
    const int size = int(info(id).block_size);
    std::vector<float> row(info(id).block_size), back(info(id).block_size);
    for (int i = 0; i < size; ++i)
      row[size_t(i)] = float(i - size / 2) * 1e-42f;  // 1/scale overflows
    std::vector<uint8_t> out(info(id).block_bytes);
    EXPECT_TRUE(encode_row(id, row, out));
    ASSERT_TRUE(decode_row(id, out, back));
    for (const float value : back) EXPECT_EQ(value, 0.0f) << info(id).name;
  }
}

}  // namespace
}  // namespace assay::quant
