// NaN and infinity among the weights are found in every format, with the tensor and the place.
#include "gguf/not_finite.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "gguf/writer.h"
#include "quant/formats.h"

namespace assay::gguf {
namespace {

constexpr uint64_t columns = 512, rows = 5;

/// The file, kept with its bytes.
struct Made {
  std::vector<uint8_t> bytes;
  std::optional<File> file;
  Made(uint32_t type, std::vector<uint8_t> data) {
    Writer writer;
    writer.add_tensor("first", 0, {4}, [] { return std::vector<uint8_t>(16); });
    writer.add_tensor("blk.0.w", type, {columns, rows}, [&] { return data; });
    bytes = writer.bytes();
    auto parsed = File::parse(bytes, "x.gguf");
    EXPECT_TRUE(parsed) << parsed.error().message;
    file.emplace(std::move(*parsed));
  }
};

TEST(NotFinite, IsFoundInEveryFormatWhereDecodingGivesIt) {
  // Those of one f16 or float in neighbouring bytes; the others below.
  for (const uint32_t type : {0u,  1u,  2u,  3u,  6u,  7u,  8u,  10u, 11u, 12u, 13u, 14u,
                              16u, 17u, 18u, 19u, 20u, 21u, 22u, 23u, 30u, 34u, 35u}) {
    const quant::Info info = quant::info(type);
    ASSERT_NE(info.block_size, 0u);
    std::vector<uint8_t> data(columns * rows / info.block_size * info.block_bytes, 0x11);
    EXPECT_FALSE(find_not_finite(*Made(type, data).file)) << info.name;
    // Two bytes at a time become an f16 infinity or the top of an f32's. Decoding everything says
    // which weight is the first that is not finite; where bytes are codes there is none.
    uint64_t found_some = 0;
    for (const uint64_t block : {uint64_t{0}, data.size() / info.block_bytes - 1})
      for (uint64_t at = 0; at + (type == 0 ? 4 : 2) <= info.block_bytes; at += 2) {
        std::vector<uint8_t> bad = data;
        const uint64_t offset = block * info.block_bytes + at;
        if (type == 0) {
          const float infinity = -INFINITY;
          std::memcpy(&bad[offset], &infinity, 4);
        } else {
          bad[offset] = type == 30 ? 0xc0 : 0x00;
          bad[offset + 1] = type == 30 ? 0x7f : 0x7c;
        }
        std::vector<float> values(columns * rows);
        quant::decode_row(type, bad, values);
        const auto first =
            std::ranges::find_if_not(values, [](float x) { return std::isfinite(x); });
        const auto found = find_not_finite(*Made(type, bad).file);
        ASSERT_EQ(bool(found), first != values.end()) << info.name << " byte " << offset;
        if (!found) continue;
        ++found_some;
        EXPECT_EQ(found->tensor, "blk.0.w");
        EXPECT_EQ(found->row * columns + found->column, uint64_t(first - values.begin()))
            << info.name << " byte " << offset;
        EXPECT_EQ(std::isnan(found->value), std::isnan(*first));
      }
    EXPECT_GE(found_some, 2u) << info.name;
  }
}

/// Row 3's last block, with these bytes from `at` on.
std::optional<NotFinite> found_in(uint32_t type, uint64_t at, const std::vector<uint8_t>& bytes) {
  const quant::Info info = quant::info(type);
  const uint64_t row_bytes = columns / info.block_size * info.block_bytes;
  std::vector<uint8_t> data(rows * row_bytes, 0x11);
  std::ranges::copy(bytes, data.begin() + int64_t(4 * row_bytes - info.block_bytes + at));
  return find_not_finite(*Made(type, data).file);
}

TEST(NotFinite, IsFoundWhereTheScaleIsNoHalfInOnePlace) {
  // IQ1_M: d = 7c00, a nibble in each of four words.
  const auto spread = found_in(quant::IQ1_M::id, 48, {0, 0, 0, 0, 0, 0xc0, 0, 0x70});
  ASSERT_TRUE(spread);
  EXPECT_EQ(spread->row, 3u);
  EXPECT_EQ(spread->column, columns - 256);
  // MXFP4, codes 1 (value 1): 2^127 is finite; code 2 (value 2) is not; with e = 252 all are.
  EXPECT_FALSE(found_in(quant::MXFP4::id, 0, {0xff, 0x11}));
  const auto large = found_in(quant::MXFP4::id, 0, {0xff, 0x11, 0x21});
  ASSERT_TRUE(large);
  EXPECT_EQ(large->column, columns - 32 + 17);
  EXPECT_EQ(large->value, INFINITY);
  EXPECT_FALSE(found_in(quant::MXFP4::id, 0, {0xfc, 0x77}));
  EXPECT_TRUE(found_in(quant::MXFP4::id, 0, {0xfd, 0x77}));
  for (const uint8_t scale : {0x7f, 0x80, 0xff})  // no NVFP4 scale is NaN or infinite
    EXPECT_FALSE(found_in(quant::NVFP4::id, 0, {scale, scale, scale, scale, 0x77}));
}

TEST(NotFinite, IsNamedWithItsPlace) {
  std::vector<uint8_t> data(columns * rows * 4, 0);
  const float nan = NAN, infinity = -INFINITY;
  std::memcpy(&data[(3 * columns + 7) * 4], &infinity, 4);
  std::memcpy(&data[(4 * columns + 1) * 4], &nan, 4);
  const Made made(0, data);
  EXPECT_EQ(text_of(*find_not_finite(*made.file)),
            "tensor 'blk.0.w' holds -infinity in row 3, column 7");
  const Status checked = check_weights(*made.file);
  ASSERT_FALSE(checked);
  EXPECT_TRUE(checked.error().message.starts_with("UNMEASURED: tensor 'blk.0.w' holds -infinity"));
}

// Integers and formats that assay can't decode have none; neither has an empty tensor.
TEST(NotFinite, OtherTypesAreLeftOut) {
  Writer writer;
  writer.add_tensor("numbers", 26, {4}, [] { return std::vector<uint8_t>(16, 0xff); });
  const auto bytes = writer.bytes();
  const auto file = File::parse(bytes, "x.gguf");
  ASSERT_TRUE(file);
  EXPECT_FALSE(find_not_finite(*file));
}

}  // namespace
}  // namespace assay::gguf
