// Scalar decode against PyPI's `gguf`: the committed golden blocks, and fresh ones where the
// package is there.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "quant/fields.h"

namespace assay::quant {
namespace {

const std::string source_dir = ASSAY_SOURCE_DIR;

std::vector<uint8_t> read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Golden bits: NaN stands as 7fc00000, whichever NaN the decoder makes.
uint32_t comparable_bits(float x) {
  return x == x ? k_bits(x) : 0x7fc00000u;
}

/// n blocks, then n·block_size f32 (tests/quant/make_golden.py): every weight's bits must be equal.
template <class F>
void expect_equal_to_golden(const std::string& directory, uint64_t least_blocks) {
  const std::vector<uint8_t> bytes =
      read_bytes(directory + "/quant_" + std::string(quant::name_of<F>) + ".bin");
  const uint64_t bytes_a_block = F::block_bytes + 4ull * F::block_size;
  ASSERT_EQ(bytes.size() % bytes_a_block, 0u) << quant::name_of<F>;
  const uint64_t blocks = bytes.size() / bytes_a_block;
  ASSERT_GE(blocks, least_blocks) << quant::name_of<F>;

  const uint64_t weights = blocks * F::block_size;
  std::vector<uint32_t> expected(weights);
  std::memcpy(expected.data(), bytes.data() + blocks * F::block_bytes, 4 * weights);
  std::vector<float> row(weights);
  ASSERT_TRUE(decode_row(F::id, std::span(bytes).first(blocks * F::block_bytes), row));

  uint64_t wrong = 0, not_a_number = 0;
  for (uint64_t i = 0; i < weights; ++i) {
    not_a_number += row[i] != row[i];
    const float single =
        decode<F>(bytes.data() + i / F::block_size * F::block_bytes, uint32_t(i % F::block_size));
    if (comparable_bits(row[i]) == expected[i] && comparable_bits(single) == expected[i]) continue;
    if (++wrong <= 3)
      ADD_FAILURE() << quant::name_of<F> << " block " << i / F::block_size << " weight "
                    << i % F::block_size << ": found " << std::hex << k_bits(row[i])
                    << ", gguf gives " << expected[i];
  }
  EXPECT_EQ(wrong, 0u) << quant::name_of<F> << ": of " << weights;
  const bool can_be_nan = F::id != MXFP4::id && F::id != NVFP4::id;
  EXPECT_EQ(not_a_number > 0, can_be_nan) << quant::name_of<F> << ": the golden's NaN blocks";
}

template <class... F>
void expect_all_equal_to_golden(List<F...>, const std::string& directory) {
  // 40 blocks a block format, some hundreds of values a float format.
  (expect_equal_to_golden<F>(directory, is_float_format<F> ? 200 : 40), ...);
}

TEST(Decode, EqualsGgufBitForBitOnGoldenBlocks) {
  expect_all_equal_to_golden(All{}, source_dir + "/tests/golden");
}

/// A Python that may have `gguf`: $ASSAY_PYTHON, the repository's venv, python3.
std::string python() {
  if (const char* chosen = std::getenv("ASSAY_PYTHON")) return chosen;
  const std::string local = source_dir + "/.venv/bin/python";
  return std::filesystem::exists(local) ? local : "python3";
}

TEST(Decode, EqualsGgufBitForBitLive) {
  namespace fs = std::filesystem;
  const std::string directory = std::string(ASSAY_BINARY_DIR) + "/live_gguf";
  for (const std::string seed : {"1", "2", "3", "4", "5"}) {
    fs::remove_all(directory);
    std::string command;
    for (const std::string& word :
         {python(), source_dir + "/tests/quant/make_golden.py", directory})
      command.append("'").append(word).append("' ");
    command.append("--seed ").append(seed).append(" >/dev/null 2>&1");
    const int status = std::system(command.c_str());
    if (!fs::exists(directory + "/quant_Q6_K.bin")) {
      ASSERT_NE(status, 0);
      GTEST_SKIP() << "no Python with the package gguf (ASSAY_PYTHON names one)";
    }
    ASSERT_EQ(status, 0);
    expect_all_equal_to_golden(All{}, directory);
    if (seed != "1") continue;
    for (const auto& entry : fs::directory_iterator(directory))  // seed 1 is the committed golden
      EXPECT_EQ(read_bytes(entry.path().string()),
                read_bytes(source_dir + "/tests/golden/" + entry.path().filename().string()))
          << entry.path().filename();
  }
}

TEST(Decode, HandComputedBlocks) {
  // Q8_0: d = 0.5, codes -128, 127, 0.
  std::vector<uint8_t> q8(Q8_0::block_bytes, 0);
  q8[1] = 0x38, q8[2] = 0x80, q8[3] = 0x7f;
  EXPECT_EQ(decode<Q8_0>(q8.data(), 0), -64.0f);
  EXPECT_EQ(decode<Q8_0>(q8.data(), 1), 63.5f);
  EXPECT_EQ(decode<Q8_0>(q8.data(), 2), 0.0f);
  // Q4_1: d = 2, m = -1; byte 0 = 0xa3: weight 0 has code 3, weight 16 has code 10.
  std::vector<uint8_t> q4(Q4_1::block_bytes, 0);
  q4[1] = 0x40, q4[3] = 0xbc, q4[4] = 0xa3;
  EXPECT_EQ(decode<Q4_1>(q4.data(), 0), 2.0f * 3 - 1);
  EXPECT_EQ(decode<Q4_1>(q4.data(), 16), 2.0f * 10 - 1);
  EXPECT_EQ(decode<Q4_1>(q4.data(), 1), -1.0f);
  // Q4_K: d = dmin = 1; group 5: sc = 0x2b = 43 (nibble 0xb in byte 13, top bits 2 in byte 5),
  // m = 0x17 = 23 (nibble 7, top bits 1 in byte 9); code 9 in the high nibble of codes byte 64 →
  // weight 160.
  std::vector<uint8_t> q4k(Q4_K::block_bytes, 0);
  q4k[1] = 0x3c, q4k[3] = 0x3c, q4k[13] = 0x7b, q4k[5] = 0x80, q4k[9] = 0x40, q4k[16 + 64] = 0x90;
  EXPECT_EQ(decode<Q4_K>(q4k.data(), 160), 43.0f * 9 - 23);
  EXPECT_EQ(decode<Q4_K>(q4k.data(), 161), -23.0f);
  // Q6_K: d = 1, weight 199 = second half, quarter 2, lane 7: high nibble of byte 64 + 7, bits 4..5
  // of byte 128 + 32 + 7; code 0x2d = 45, scale of group 199/16 = 12 is -3.
  std::vector<uint8_t> q6k(Q6_K::block_bytes, 0);
  q6k[64 + 7] = 0xd0, q6k[128 + 32 + 7] = 0x20, q6k[192 + 12] = 0xfd, q6k[209] = 0x3c;
  EXPECT_EQ(decode<Q6_K>(q6k.data(), 199), -3.0f * (45 - 32));
}

TEST(Decode, HandComputedBlocksOfFourBitsAndFive) {
  // Q4_0: d = 2; byte 0 = 0xa3: weight 0 has code 3, weight 16 has code 10.
  std::vector<uint8_t> q4(Q4_0::block_bytes, 0);
  q4[1] = 0x40, q4[2] = 0xa3;
  EXPECT_EQ(decode<Q4_0>(q4.data(), 0), 2.0f * (3 - 8));
  EXPECT_EQ(decode<Q4_0>(q4.data(), 16), 2.0f * (10 - 8));
  // IQ4_NL: the same block; the table's values 3 and 10 are −65 and 25.
  EXPECT_EQ(decode<IQ4_NL>(q4.data(), 0), 2.0f * -65);
  EXPECT_EQ(decode<IQ4_NL>(q4.data(), 16), 2.0f * 25);
  // Q5_0: d = 2; byte 2 of the low bits = 0xa3; fifth bit of weight 18 (bit 2 of byte 2), not of 2.
  std::vector<uint8_t> q5(Q5_0::block_bytes, 0);
  q5[1] = 0x40, q5[2 + 2] = 0x04, q5[6 + 2] = 0xa3;
  EXPECT_EQ(decode<Q5_0>(q5.data(), 2), 2.0f * (3 - 16));
  EXPECT_EQ(decode<Q5_0>(q5.data(), 18), 2.0f * (26 - 16));
  // Q5_1: d = 2, m = −1, the same codes.
  std::vector<uint8_t> q51(Q5_1::block_bytes, 0);
  q51[1] = 0x40, q51[3] = 0xbc, q51[4 + 2] = 0x04, q51[8 + 2] = 0xa3;
  EXPECT_EQ(decode<Q5_1>(q51.data(), 2), 2.0f * 3 - 1);
  EXPECT_EQ(decode<Q5_1>(q51.data(), 18), 2.0f * 26 - 1);
  // BF16: 0xc0a0 is the high half of −5.
  const uint8_t bf16[] = {0xa0, 0xc0};
  EXPECT_EQ(decode<BF16>(bf16, 0), -5.0f);
}

TEST(Decode, HandComputedSuperBlocks) {
  // Q2_K: d = 1, dmin = 2; weight 199 = second half, quarter 2, lane 7: bits 4..5 of byte 16 + 32 +
  // 7, code 3; group 12: sc = 5 (low nibble), m = 9 (high).
  std::vector<uint8_t> q2(Q2_K::block_bytes, 0);
  q2[12] = 0x95, q2[16 + 32 + 7] = 0x30, q2[81] = 0x3c, q2[83] = 0x40;
  EXPECT_EQ(decode<Q2_K>(q2.data(), 199), 5.0f * 3 - 2.0f * 9);
  EXPECT_EQ(decode<Q2_K>(q2.data(), 198), -2.0f * 9);
  // Q3_K: d = 1; weight 199: low bits 2 in bits 4..5 of byte 32 + 32 + 7, third bit: bit 6 of byte
  // 7; group 12: low four bits 0xb in the high nibble of byte 96 + 4, high two bits 2 in bits 6..7
  // of byte 104 + 0: sc = 43.
  std::vector<uint8_t> q3(Q3_K::block_bytes, 0);
  q3[7] = 0x40, q3[32 + 32 + 7] = 0x20, q3[96 + 4] = 0xb0, q3[104] = 0x80, q3[109] = 0x3c;
  EXPECT_EQ(decode<Q3_K>(q3.data(), 199), (43.0f - 32) * (6 - 4));
  EXPECT_EQ(decode<Q3_K>(q3.data(), 198), (43.0f - 32) * (0 - 4));
  // Q5_K: d = dmin = 1, scales as in Q4_K above: group 5 has sc 43, m 23; weight 160: high nibble 9
  // of byte 48 + 64, fifth bit: bit 5 of byte 16 + 0.
  std::vector<uint8_t> q5(Q5_K::block_bytes, 0);
  q5[1] = 0x3c, q5[3] = 0x3c, q5[13] = 0x7b, q5[5] = 0x80, q5[9] = 0x40;
  q5[48 + 64] = 0x90, q5[16] = 0x20;
  EXPECT_EQ(decode<Q5_K>(q5.data(), 160), 43.0f * (9 + 16) - 23);
  EXPECT_EQ(decode<Q5_K>(q5.data(), 161), -23.0f);
}

TEST(Decode, HandComputedBlocksOfTables) {
  // MXFP4: e = 129, so half of 2^2; nibbles 0xf and 7: −12 and 12.
  std::vector<uint8_t> mx(MXFP4::block_bytes, 0);
  mx[0] = 129, mx[1] = 0x7f;
  EXPECT_EQ(decode<MXFP4>(mx.data(), 0), 2.0f * -12);
  EXPECT_EQ(decode<MXFP4>(mx.data(), 16), 2.0f * 12);
  // 2^-100 is kept, 2^-101 counts as zero.
  mx[0] = 27;
  EXPECT_EQ(decode<MXFP4>(mx.data(), 16), 0x1p-101f * 12);
  mx[0] = 26;
  EXPECT_EQ(decode<MXFP4>(mx.data(), 16), 0.0f);
  // No NaN: the largest weights pass the end of f32.
  mx[0] = 255;
  EXPECT_EQ(decode<MXFP4>(mx.data(), 16), INFINITY);
  EXPECT_EQ(decode<MXFP4>(mx.data(), 1), 0.0f);
  // NVFP4: group 2's scale 0x4b = 2^2·(1 + 3/8) = 5.5; byte 3 of its codes: weights 35 and 43.
  std::vector<uint8_t> nv(NVFP4::block_bytes, 0);
  nv[2] = 0x4b, nv[4 + 16 + 3] = 0x2e;
  EXPECT_EQ(decode<NVFP4>(nv.data(), 35), 2.75f * -8);
  EXPECT_EQ(decode<NVFP4>(nv.data(), 43), 2.75f * 2);
  nv[2] = 0x7f;
  EXPECT_EQ(decode<NVFP4>(nv.data(), 43), 0.0f);
  nv[2] = 0xff;
  EXPECT_EQ(decode<NVFP4>(nv.data(), 43), 240.0f * 2);
  // IQ4_XS: d = 1; group 5: sc = 0x2b (nibble 0xb in the high half of byte 6, 2 in bits 10..11 of
  // the word at 2); byte 3 of its codes: weight 163 has value 3, −65, weight 179 value 10, 25.
  std::vector<uint8_t> xs(IQ4_XS::block_bytes, 0);
  xs[1] = 0x3c, xs[6] = 0xb0, xs[3] = 0x08, xs[8 + 80 + 3] = 0xa3;
  EXPECT_EQ(decode<IQ4_XS>(xs.data(), 163), 11.0f * -65);
  EXPECT_EQ(decode<IQ4_XS>(xs.data(), 179), 11.0f * 25);
  // TQ2_0: d = 2; weight 199 = second half, quarter 2, lane 7: bits 4..5 of byte 32 + 7.
  std::vector<uint8_t> t2(TQ2_0::block_bytes, 0);
  t2[65] = 0x40, t2[32 + 7] = 0x20;
  EXPECT_EQ(decode<TQ2_0>(t2.data(), 199), 2.0f);
  EXPECT_EQ(decode<TQ2_0>(t2.data(), 198), -2.0f);
  // TQ1_0: d = 2; digits 2 1 0 2 1 are 2·81 + 27 + 2·3 + 1 = 196, in a byte ⌈196·256/243⌉ = 207: of
  // byte 7 the weights 7, 39, 71, 103, 135; of byte 32 + 7 the weights 167 … 231; of byte 48 + 1
  // four.
  std::vector<uint8_t> t1(TQ1_0::block_bytes, 0);
  t1[53] = 0x40, t1[7] = t1[32 + 7] = t1[48 + 1] = 207;
  const float digits[] = {2, 0, -2, 2, 0};
  for (uint32_t n = 0; n < 5; ++n) {
    EXPECT_EQ(decode<TQ1_0>(t1.data(), 7 + 32 * n), digits[n]);
    EXPECT_EQ(decode<TQ1_0>(t1.data(), 167 + 16 * n), digits[n]);
  }
  for (uint32_t n = 0; n < 4; ++n) EXPECT_EQ(decode<TQ1_0>(t1.data(), 241 + 4 * n), digits[n]);
}

/// A block of super-block format F with d = 1 and every group's scale code 1, its other bytes 0.
template <class F>
std::vector<uint8_t> plain_block() {
  std::vector<uint8_t> block(F::block_bytes, 0);
  put_scale<F>(block.data(), 0, 1.0f);
  return block;
}

TEST(Decode, HandComputedBlocksOfCodebooks) {
  // The first entry of the IQ2 books is 8 eight times, of IQ3_XXS 4, of IQ3_S 1 four times, of IQ1
  // −1.
  auto xxs = plain_block<IQ2_XXS>();
  EXPECT_EQ(decode<IQ2_XXS>(xxs.data(), 200), 8 / 8.0f);
  // Group 6: scale 2·5 + 1; of entry 1 the signs 0x41 (weights 200, 206), an even number: not 207.
  xxs[2 + 48 + 7] = 0x50, xxs[2 + 48 + 4] = 0x80, xxs[2 + 48 + 5] = 0x20;
  EXPECT_EQ(decode<IQ2_XXS>(xxs.data(), 200), 11 * -8 / 8.0f);
  EXPECT_EQ(decode<IQ2_XXS>(xxs.data(), 206), 11 * -8 / 8.0f);
  EXPECT_EQ(decode<IQ2_XXS>(xxs.data(), 207), 11 * 8 / 8.0f);
  EXPECT_EQ(decode<IQ2_XXS>(xxs.data(), 199), 11 * 8 / 8.0f);
  // One sign, weight 200's, makes weight 207 the second one.
  xxs[2 + 48 + 5] = 0x00;
  EXPECT_EQ(decode<IQ2_XXS>(xxs.data(), 206), 11 * 8 / 8.0f);
  EXPECT_EQ(decode<IQ2_XXS>(xxs.data(), 207), 11 * -8 / 8.0f);
  // IQ2_S: sign of weight 77: bit 5 of byte 34 + 9; group 4 of 16: low nibble of byte 74 + 2.
  auto s2 = plain_block<IQ2_S>();
  s2[34 + 9] = 0x20, s2[74 + 2] = 0x03;
  EXPECT_EQ(decode<IQ2_S>(s2.data(), 77), 7 * -8 / 8.0f);
  EXPECT_EQ(decode<IQ2_S>(s2.data(), 76), 7 * 8 / 8.0f);
  EXPECT_EQ(decode<IQ2_S>(s2.data(), 80), 8 / 8.0f);
  auto xxs3 = plain_block<IQ3_XXS>();
  EXPECT_EQ(decode<IQ3_XXS>(xxs3.data(), 100), 4 / 4.0f);
  auto s3 = plain_block<IQ3_S>();
  s3[106 + 1] = 0x70, s3[74 + 12] = 0x10;  // group 3; weight 100 = byte 12, bit 4
  EXPECT_EQ(decode<IQ3_S>(s3.data(), 100), -15.0f);
  EXPECT_EQ(decode<IQ3_S>(s3.data(), 101), 15.0f);
  auto s1 = plain_block<IQ1_S>();
  s1[34 + 2 * 3 + 1] = 0xa0;  // group 3: scale 2·2 + 1, and 1/8 is taken off
  EXPECT_EQ(decode<IQ1_S>(s1.data(), 100), 5 * (-1 - 0.125f));
  EXPECT_EQ(decode<IQ1_S>(s1.data(), 128), -1 + 0.125f);
  // IQ1_M: group 6 of 16: three bits at 6 of the second word; weights 104 … 111: the high nibble of
  // byte 32 + 6.
  auto m1 = plain_block<IQ1_M>();
  m1[50] = uint8_t(m1[50] | 0x80), m1[32 + 6] = 0x80;
  EXPECT_EQ(decode<IQ1_M>(m1.data(), 104), 5 * (-1 - 0.125f));
  EXPECT_EQ(decode<IQ1_M>(m1.data(), 103), 5 * (-1 + 0.125f));
}

TEST(Formats, ListGivesGgufIdsAndSizes) {
  // GGUF tensor type ids, block sizes and bytes as the GGUF specification lists them.
  struct Fact {
    uint32_t id, block_size, block_bytes;
    const char* name;
  };
  for (const Fact& fact :
       {Fact{0, 1, 4, "F32"},     {1, 1, 2, "F16"},         {2, 32, 18, "Q4_0"},
        {3, 32, 20, "Q4_1"},      {6, 32, 22, "Q5_0"},      {7, 32, 24, "Q5_1"},
        {8, 32, 34, "Q8_0"},      {10, 256, 84, "Q2_K"},    {11, 256, 110, "Q3_K"},
        {12, 256, 144, "Q4_K"},   {13, 256, 176, "Q5_K"},   {14, 256, 210, "Q6_K"},
        {16, 256, 66, "IQ2_XXS"}, {17, 256, 74, "IQ2_XS"},  {18, 256, 98, "IQ3_XXS"},
        {19, 256, 50, "IQ1_S"},   {20, 32, 18, "IQ4_NL"},   {21, 256, 110, "IQ3_S"},
        {22, 256, 82, "IQ2_S"},   {23, 256, 136, "IQ4_XS"}, {29, 256, 56, "IQ1_M"},
        {34, 256, 54, "TQ1_0"},   {35, 256, 66, "TQ2_0"},   {39, 32, 17, "MXFP4"},
        {40, 64, 36, "NVFP4"},    {30, 1, 2, "BF16"}}) {
    const Info found = info(fact.id);
    EXPECT_EQ(found.name, fact.name);
    EXPECT_EQ(found.block_size, fact.block_size);
    EXPECT_EQ(found.block_bytes, fact.block_bytes);
  }
  for (uint32_t id : {4u, 5u, 9u, 15u, 24u, 31u, 36u, 41u, 0xffffffffu}) {
    EXPECT_EQ(info(id).block_size, 0u) << id;
    EXPECT_FALSE(decode_row(id, {}, {})) << id;
  }
  EXPECT_EQ(
      supported_names(),
      "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, "
      "IQ4_XS, MXFP4, NVFP4, IQ3_S, IQ3_XXS, IQ2_S, IQ2_XS, IQ2_XXS, IQ1_M, IQ1_S, TQ1_0, TQ2_0");
}

/// Within one group every weight has one scale and minimum, and codes stay below 2^code_bits.
template <class F>
void expect_codes_in_range() {
  std::vector<uint8_t> block(F::block_bytes);
  uint32_t state = 12345, seen_highest = 0;
  for (int round = 0; round < 64; ++round) {
    for (uint8_t& byte : block) byte = uint8_t((state = state * 1664525u + 1013904223u) >> 24);
    for (uint32_t i = 0; i < F::block_size; ++i) {
      ASSERT_LT(F::code(block.data(), i), 1u << F::code_bits) << quant::name_of<F>;
      seen_highest |= F::code(block.data(), i);
    }
  }
  EXPECT_EQ(seen_highest, (1u << F::code_bits) - 1) << quant::name_of<F>;
  EXPECT_EQ(F::block_size % F::group_size, 0u);
}

TEST(Formats, CodesFillTheirBits) {
  const auto each = []<class... F>(List<F...>) {
    const auto one = []<class Format>(List<Format>) {
      if constexpr (!is_float_format<Format>) expect_codes_in_range<Format>();
    };
    (one(List<F>{}), ...);
  };
  each(All{});
}

}  // namespace
}  // namespace assay::quant
