// The tensor table: shapes, types, offsets, and each way in which an entry can be wrong.
#include <gtest/gtest.h>

#include "gguf/raw.h"
#include "quant/formats.h"

namespace assay::gguf {
namespace {

/// One tensor with room for it and more.
RawFile with(RawTensor tensor, uint64_t data_bytes = 4096) {
  return RawFile{.tensors = {std::move(tensor)}, .data_bytes = data_bytes};
}

TEST(GgufTensor, ShapeTypeOffsetAndDataAreRead) {
  for (const uint32_t version : {2u, 3u}) {
    RawFile raw{.version = version,
                .tensors = {RawTensor{.name = "b", .dims = {32, 3}, .type = 8, .offset = 32},
                            RawTensor{.name = "a", .dims = {2, 1, 2, 1}, .type = 0, .offset = 0}},
                .data_bytes = 32 + 3 * 34};
    auto bytes = raw.bytes();
    const uint64_t data_start = bytes.size() - (32 + 3 * 34);
    bytes[data_start] = 11;
    bytes[data_start + 32] = 22;
    const auto file = File::parse(bytes, "x.gguf");
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->version(), version);
    ASSERT_EQ(file->tensors().size(), 2u);
    const Tensor& b = file->tensors()[0];  // file order
    EXPECT_EQ(b.name, "b");
    EXPECT_EQ(b.type, 8u);
    EXPECT_EQ(b.n_dims, 2u);
    EXPECT_EQ(b.dims, (std::array<uint64_t, 4>{32, 3, 1, 1}));
    EXPECT_EQ(b.elements(), 96u);
    EXPECT_EQ(b.offset, data_start + 32);
    EXPECT_EQ(b.data.size(), 3u * 34);  // three rows of one Q8_0 block
    EXPECT_EQ(b.data[0], 22);
    const Tensor* a = file->find_tensor("a");
    ASSERT_NE(a, nullptr);
    EXPECT_EQ(a->n_dims, 4u);
    EXPECT_EQ(a->data.size(), 4u * 4);
    EXPECT_EQ(a->data[0], 11);
    EXPECT_EQ(file->find_tensor("aa"), nullptr);
    EXPECT_EQ(file->find_tensor(""), nullptr);
  }
}

// 24 bytes of header; each tensor takes 33 at least.
TEST(GgufTensor, AWildCountIsRefusedBeforeAllocating) {
  EXPECT_TRUE(refused(RawFile{.tensor_count = 1},
                      "with 1 tensors at byte 24 the file would have at least 57 bytes, "
                      "but it has 24"));
  EXPECT_TRUE(refused(RawFile{.tensor_count = UINT64_MAX}, "at least 2^64 bytes"));
  EXPECT_TRUE(refused(RawFile{.tensor_count = uint64_t{1} << 63}, "at least 2^64 bytes"));
}

TEST(GgufTensor, DimensionsAreNoneToFour) {
  for (uint32_t n = 0; n <= 4; ++n)
    EXPECT_TRUE(accepted(with({.dims = std::vector<uint64_t>(n, 2)}))) << n;
  const auto bytes = with({.dims = {}}, 4).bytes();  // one f32
  const auto file = File::parse(bytes, "x.gguf");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->tensors()[0].elements(), 1u);
  EXPECT_EQ(file->tensors()[0].data.size(), 4u);
  EXPECT_TRUE(refused(with({.dims = {}}, 3), "truncated"));
  EXPECT_TRUE(refused(with({.dims = {}, .type = 8}), "not a multiple of the 32"));
  EXPECT_TRUE(refused(with({.dims = {2, 2, 2, 2, 2}}), "has 5 dimensions"));
  EXPECT_TRUE(refused(with({.n_dims = UINT32_MAX}), "has 4294967295 dimensions"));
}

TEST(GgufTensor, ADimensionOfZeroMakesAnEmptyTensor) {
  for (const std::vector<uint64_t>& dims : {std::vector<uint64_t>{0}, {8, 1, 0}, {0, 4}}) {
    const auto bytes = with({.dims = dims}, 0).bytes();
    const auto file = File::parse(bytes, "x.gguf");
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->tensors()[0].elements(), 0u);
    EXPECT_TRUE(file->tensors()[0].data.empty());
  }
  EXPECT_TRUE(refused(with({.dims = {0, uint64_t{1} << 63}}), "too large for 64 bits"));
  // It overlaps nothing, wherever it lies, and hides no overlap of others.
  RawFile three{.tensors = {RawTensor{.name = "a", .dims = {16}, .offset = 0},
                            RawTensor{.name = "b", .dims = {0}, .offset = 32},
                            RawTensor{.name = "c", .dims = {8}, .offset = 64}},
                .data_bytes = 96};
  EXPECT_TRUE(accepted(three));
  three.tensors[2].offset = 32;
  EXPECT_TRUE(refused(three, "overlap"));
}

TEST(GgufTensor, ElementsThatWrapAreRefused) {
  const uint64_t two32 = uint64_t{1} << 32;
  EXPECT_TRUE(refused(with({.dims = {two32, two32}}), "too large for 64 bits"));  // wraps to 0
  EXPECT_TRUE(
      refused(with({.dims = {two32, two32, 1, 8}}), "too large for 64 bits"));  // wraps to 0
  EXPECT_TRUE(
      refused(with({.dims = {3, 0x5555555555555556u}}), "too large for 64 bits"));  // wraps to 2
  EXPECT_TRUE(
      refused(with({.dims = {uint64_t{1} << 63}}), "too large for 64 bits"));  // negative as int64
  EXPECT_TRUE(
      refused(with({.dims = {uint64_t{1} << 62}}), "too large for 64 bits"));  // bytes wrap to 0
}

TEST(GgufTensor, AnUnknownTypeIsRefused) {
  EXPECT_TRUE(refused(with({.type = 43}), "tensor \"w\" has the unknown type 43"));
  EXPECT_TRUE(refused(with({.type = UINT32_MAX}), "unknown type 4294967295"));
}

TEST(GgufTensor, AKnownTypeThatAssayCannotComputeIsReadWithItsSize) {
  const auto bytes =
      with({.dims = {512}, .type = 16}).bytes();  // IQ2_XXS: 66 bytes for 256 weights
  const auto file = File::parse(bytes, "x.gguf");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->tensors()[0].data.size(), 2u * 66);
}

TEST(GgufTensor, ARowMustBeWholeBlocks) {
  EXPECT_TRUE(refused(with({.dims = {33}, .type = 8}),
                      "have 33 weights, not a multiple of the 32 in a block of Q8_0"));
  EXPECT_TRUE(refused(with({.dims = {128, 2}, .type = 12}),
                      "not a multiple of the 256"));  // 256 only in all
}

TEST(GgufTensor, AnOffsetMustBeAligned) {
  EXPECT_TRUE(accepted(with({.offset = 64})));
  EXPECT_TRUE(refused(with({.offset = 16}),
                      "the offset 16 of tensor \"w\" is not a multiple of the alignment 32"));
}

TEST(GgufTensor, AlignmentFromTheFileIsUsed) {
  RawFile raw{.metadata = {u32_entry("general.alignment", 128)},
              .tensors = {RawTensor{.offset = 128}},
              .alignment = 128,
              .data_bytes = 160};
  const auto bytes = raw.bytes();
  const auto file = File::parse(bytes, "x.gguf");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->alignment(), 128u);
  EXPECT_EQ(file->tensors()[0].offset, bytes.size() - 160 + 128);
  raw.tensors[0].offset = 32;
  EXPECT_TRUE(refused(raw, "not a multiple of the alignment 128"));
}

TEST(GgufTensor, AlignmentMustBeAPowerOfTwoFromEight) {
  for (const uint32_t wrong : {0u, 1u, 4u, 24u, 33u, UINT32_MAX}) {
    EXPECT_TRUE(
        refused(RawFile{.metadata = {u32_entry("general.alignment", wrong)}}, "power of two"))
        << wrong;
  }
  EXPECT_TRUE(accepted(RawFile{.metadata = {u32_entry("general.alignment", 8)}}));
  EXPECT_TRUE(refused(RawFile{.metadata = {entry("general.alignment", f32_id).number(32.0f)}},
                      "unsigned integer"));
  EXPECT_TRUE(refused(
      RawFile{.metadata = {entry("general.alignment", i32_id).number<int32_t>(-32)}}, "unsigned"));
}

TEST(GgufTensor, AHugeAlignmentDoesNotWrap) {
  RawFile raw{.metadata = {entry("general.alignment", u64_id).u64(uint64_t{1} << 63)},
              .tensors = {RawTensor{}}};
  raw.data_bytes = 64;
  EXPECT_TRUE(
      refused(raw, "the file should have at least 9223372036854775840 bytes"));  // 2^63 + 8·4
  raw.tensors[0].offset = uint64_t{1} << 63;
  EXPECT_TRUE(refused(raw, "ends beyond 2^64"));
}

TEST(GgufTensor, TruncatedDataTellsExpectedAndActualBytes) {
  RawFile raw{.tensors = {RawTensor{.name = "first", .dims = {8}},
                          RawTensor{.name = "last", .dims = {8}, .offset = 32}},
              .data_bytes = 64};
  auto bytes = raw.bytes();
  EXPECT_TRUE(accepted(bytes));
  const std::string whole = std::to_string(bytes.size());
  bytes.pop_back();
  EXPECT_TRUE(refused(bytes, "truncated: the file should have at least " + whole +
                                 " bytes (tensor \"last\" ends "
                                 "there), but it has " +
                                 std::to_string(bytes.size())));
  bytes.resize(bytes.size() -
               63);  // nothing of either is left: still the end of the last one is told
  EXPECT_TRUE(refused(bytes, "should have at least " + whole + " bytes"));
}

TEST(GgufTensor, AnOffsetThatWrapsIsRefused) {
  EXPECT_TRUE(refused(with({.offset = UINT64_MAX - 31}), "ends beyond 2^64"));
  EXPECT_TRUE(refused(with({.offset = uint64_t{1} << 62}), "truncated"));
}

TEST(GgufTensor, OverlapsAreRefused) {
  RawFile raw{.tensors = {RawTensor{.name = "c", .dims = {8}, .offset = 64},
                          RawTensor{.name = "a", .dims = {16}, .offset = 0}},
              .data_bytes = 96};
  EXPECT_TRUE(accepted(raw));  // 0..64 and 64..96
  raw.tensors[1].dims = {17};  // 0..68
  EXPECT_TRUE(refused(raw, "tensors \"a\" and \"c\" overlap"));
  raw.tensors[1] = RawTensor{.name = "a", .dims = {8}, .offset = 64};
  EXPECT_TRUE(refused(raw, "overlap"));
}

TEST(GgufTensor, ADuplicateNameIsRefused) {
  RawFile raw{.tensors = {RawTensor{.name = "twin"}, RawTensor{.name = "x", .offset = 32},
                          RawTensor{.name = "twin", .offset = 64}},
              .data_bytes = 96};
  EXPECT_TRUE(refused(raw, "the tensor name \"twin\" occurs twice"));
}

TEST(GgufTensor, NamesHaveOneTo255Bytes) {
  EXPECT_TRUE(accepted(with({.name = std::string(255, 'n')})));
  EXPECT_TRUE(refused(with({.name = std::string(256, 'n')}), "claims 256 bytes; the limit is 255"));
  EXPECT_TRUE(refused(with({.name = ""}), "empty name"));
}

TEST(GgufTensor, HundredThousandTensorsTakeNoQuadraticTime) {
  RawFile raw{.data_bytes = 100000 * 32};
  for (uint64_t i = 0; i < 100000; ++i) {
    raw.tensors.push_back({.name = std::to_string(i), .offset = (99999 - i) * 32});
  }
  EXPECT_TRUE(accepted(raw));
}

TEST(GgufTypes, AgreeWithTheFormatsThatAssayComputes) {
  uint32_t formats = 0;
  for (uint32_t id = 0; id < 256; ++id) {
    const quant::Info format = quant::info(id);
    if (format.block_size == 0) continue;
    ++formats;
    const auto type = type_info(id);
    ASSERT_TRUE(type) << format.name;
    EXPECT_EQ(type->name, format.name);
    EXPECT_EQ(type->block_size, format.block_size) << format.name;
    EXPECT_EQ(type->block_bytes, format.block_bytes) << format.name;
  }
  EXPECT_GE(formats, 6u);
}

// Derived from ggml's block structs: f16 = 2 bytes, s = scales, q = codes.
TEST(GgufTypes, BlockBytesFollowFromTheBlocks) {
  const auto bytes = [](uint32_t id) { return type_info(id)->block_bytes; };
  EXPECT_EQ(bytes(2), 2u + 32 / 2);                       // Q4_0: d, 4-bit q
  EXPECT_EQ(bytes(6), 2u + 4 + 32 / 2);                   // Q5_0: d, 32 fifth bits, 4-bit q
  EXPECT_EQ(bytes(7), 2u + 2 + 4 + 32 / 2);               // Q5_1: d, m, 32 fifth bits, 4-bit q
  EXPECT_EQ(bytes(10), 256u / 16 + 256 / 4 + 2 + 2);      // Q2_K: 16 s, 2-bit q, d, dmin
  EXPECT_EQ(bytes(11), 256u / 8 + 256 / 4 + 12 + 2);      // Q3_K: third bits, 2-bit q, s, d
  EXPECT_EQ(bytes(13), 2u + 2 + 12 + 256 / 8 + 256 / 2);  // Q5_K: d, dmin, s, fifth bits, 4-bit q
  EXPECT_EQ(bytes(23), 2u + 2 + 4 + 256 / 2);             // IQ4_XS: d, high s, low s, 4-bit q
  EXPECT_EQ(bytes(30), 2u);                               // BF16
  EXPECT_EQ(bytes(39), 1u + 32 / 2);                      // MXFP4: e8m0 scale, 4-bit q
}

TEST(GgufTypes, NamesOfAllAndOfNone) {
  EXPECT_EQ(type_name(14), "Q6_K");
  EXPECT_EQ(type_name(30), "BF16");
  EXPECT_EQ(type_name(97), "type 97");
  EXPECT_FALSE(type_info(97));
}

}  // namespace
}  // namespace assay::gguf
