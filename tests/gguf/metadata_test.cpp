// Metadata: every value type, the look-ups, and each way in which an entry can be wrong.
#include <gtest/gtest.h>

#include <limits>

#include "gguf/raw.h"
#include "gguf/reader.h"

namespace assay::gguf {
namespace {

TEST(GgufMetadata, EveryTypeIsRead) {
  const RawFile raw{.metadata = {
                        entry("u8", u8_id).u8(200),
                        entry("i8", i8_id).number<int8_t>(-100),
                        entry("u16", u16_id).number<uint16_t>(60000),
                        entry("i16", i16_id).number<int16_t>(-30000),
                        entry("u32", u32_id).u32(4000000000u),
                        entry("i32", i32_id).number<int32_t>(-2000000000),
                        entry("f32", f32_id).number(1.5f),
                        entry("bool", bool_id).u8(1),
                        entry("string", string_id).text("text"),
                        entry("u64", u64_id).u64(UINT64_MAX),
                        entry("i64", i64_id).number(INT64_MIN),
                        entry("f64", f64_id).number(1e300),
                    }};
  const auto bytes = raw.bytes();
  const auto file = File::parse(bytes, "x.gguf");
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_EQ(file->metadata().size(), 12u);
  EXPECT_EQ(file->metadata()[0].key, "u8");  // file order
  EXPECT_EQ(std::get<uint64_t>(file->find("u8")->data), 200u);
  EXPECT_EQ(std::get<int64_t>(file->find("i8")->data), -100);
  EXPECT_EQ(std::get<uint64_t>(file->find("u16")->data), 60000u);
  EXPECT_EQ(std::get<int64_t>(file->find("i16")->data), -30000);
  EXPECT_EQ(std::get<uint64_t>(file->find("u32")->data), 4000000000u);
  EXPECT_EQ(std::get<int64_t>(file->find("i32")->data), -2000000000);
  EXPECT_EQ(std::get<double>(file->find("f32")->data), 1.5);
  EXPECT_EQ(std::get<bool>(file->find("bool")->data), true);
  EXPECT_EQ(std::get<std::string_view>(file->find("string")->data), "text");
  EXPECT_EQ(std::get<uint64_t>(file->find("u64")->data), UINT64_MAX);
  EXPECT_EQ(std::get<int64_t>(file->find("i64")->data), INT64_MIN);
  EXPECT_EQ(std::get<double>(file->find("f64")->data), 1e300);
  EXPECT_EQ(value_type_name(file->find("i16")->type), "i16");
  EXPECT_EQ(file->find("u"), nullptr);
  EXPECT_EQ(file->find("zzz"), nullptr);
}

TEST(GgufMetadata, ArraysOfEveryWidthAreRead) {
  const RawFile raw{.metadata = {
                        array_entry("i8", i8_id, 2).number<int8_t>(-1).number<int8_t>(127),
                        array_entry("u16", u16_id, 1).number<uint16_t>(65535),
                        array_entry("i64", i64_id, 1).number(INT64_MIN),
                        array_entry("f32", f32_id, 2).number(0.25f).number(-2.0f),
                        array_entry("f64", f64_id, 1).number(1e-300),
                        array_entry("u64", u64_id, 2).u64(1).u64(INT64_MAX),
                        array_entry("bool", bool_id, 3).u8(0).u8(1).u8(0),
                        array_entry("none", u32_id, 0),
                        strings_entry("strings", {"a", "", "ccc"}),
                    }};
  const auto bytes = raw.bytes();
  const auto file = File::parse(bytes, "x.gguf");
  ASSERT_TRUE(file) << file.error().message;
  const auto array = [&](std::string_view key) { return std::get<Array>(file->find(key)->data); };
  EXPECT_EQ(array("i8").integer(0), -1);
  EXPECT_EQ(array("i8").integer(1), 127);
  EXPECT_EQ(array("u16").integer(0), 65535);
  EXPECT_EQ(array("i64").integer(0), INT64_MIN);
  EXPECT_EQ(array("f32").real(0), 0.25);
  EXPECT_EQ(array("f32").real(1), -2.0);
  EXPECT_EQ(array("f64").real(0), 1e-300);
  EXPECT_EQ(array("u64").integer(1), INT64_MAX);
  EXPECT_EQ(array("bool").integer(1), 1);
  EXPECT_EQ(array("none").count, 0u);
  EXPECT_EQ(array("strings").strings, (std::vector<std::string_view>{"a", "", "ccc"}));
}

TEST(GgufMetadata, LookUpsTellAbsentFromWrong) {
  const RawFile raw{.metadata = {
                        u32_entry("count", 7),
                        entry("signed", i32_id).number<int32_t>(5),
                        entry("negative", i64_id).number<int64_t>(-1),
                        entry("eps", f32_id).number(0.5f),
                        entry("flag", bool_id).u8(0),
                        entry("name", string_id).text("n"),
                    }};
  const auto bytes = raw.bytes();
  const auto file = File::parse(bytes, "x.gguf");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(**file->unsigned_value("count"), 7u);
  EXPECT_EQ(**file->unsigned_value("signed"), 5u);
  EXPECT_EQ(*file->unsigned_value("absent"), std::nullopt);
  EXPECT_EQ(file->unsigned_value("negative").error().message,
            "x.gguf: \"negative\" is -1; it must not be negative");
  EXPECT_EQ(file->unsigned_value("eps").error().message,
            "x.gguf: \"eps\" has the type f32; wanted an integer");
  EXPECT_EQ(**file->real_value("eps"), 0.5);
  EXPECT_EQ(*file->real_value("absent"), std::nullopt);
  EXPECT_EQ(file->real_value("count").error().message,
            "x.gguf: \"count\" has the type u32; wanted f32 or f64");
  EXPECT_EQ(**file->bool_value("flag"), false);
  EXPECT_EQ(*file->bool_value("absent"), std::nullopt);
  EXPECT_EQ(file->bool_value("name").error().message,
            "x.gguf: \"name\" has the type string; wanted bool");
  EXPECT_EQ(**file->string_value("name"), "n");
  EXPECT_EQ(*file->string_value("absent"), std::nullopt);
  EXPECT_EQ(file->string_value("flag").error().message,
            "x.gguf: \"flag\" has the type bool; wanted string");
}

// 24 bytes of header; each entry takes 14 at least. The product with 14 wraps for 2^64/14 + 1 =
// 1317624576693539402.
TEST(GgufMetadata, AWildCountOfEntriesIsRefusedBeforeAllocating) {
  EXPECT_TRUE(refused(RawFile{.metadata_count = 1},
                      "with 1 metadata entries at byte 24 the file would have at least "
                      "38 bytes, but it has 24"));
  EXPECT_TRUE(refused(RawFile{.metadata_count = UINT64_MAX}, "at least 2^64 bytes, but it has 24"));
  EXPECT_TRUE(refused(RawFile{.metadata_count = 1317624576693539402u}, "at least 2^64 bytes"));
}

TEST(GgufMetadata, AStringBeyondTheFileIsRefused) {
  Bytes wild = entry("k", string_id).u64(1000).append({'a', 'b'});
  EXPECT_TRUE(
      refused(RawFile{.metadata = {wild}}, "truncated or damaged: with the value of \"k\""));
}

TEST(GgufMetadata, AStringLengthThatWrapsIsRefused) {
  Bytes wild = entry("k", string_id).u64(UINT64_MAX - 7).append({'a', 'b'});
  EXPECT_TRUE(refused(RawFile{.metadata = {wild}},
                      "claims 18446744073709551608 bytes; the limit is 16777216"));
}

TEST(GgufMetadata, AStringOfSixteenMebibytesIsTheLongest) {
  const std::string longest(16u << 20, 'x');
  EXPECT_TRUE(accepted(RawFile{.metadata = {entry("k", string_id).text(longest)}}));
  EXPECT_TRUE(refused(RawFile{.metadata = {entry("k", string_id).text(longest + 'x')}},
                      "claims 16777217 bytes; the limit is 16777216"));
  EXPECT_TRUE(
      refused(RawFile{.metadata = {strings_entry("k", {longest + 'x'})}}, "the limit is 16777216"));
}

TEST(GgufMetadata, AnEmptyKeyIsRefused) {
  // Room for the smallest entry (14 bytes) is there: 8 + 0 + 4 + 8.
  EXPECT_TRUE(refused(RawFile{.metadata = {entry("", u64_id).u64(1)}},
                      "metadata entry 0 has an empty key"));
}

TEST(GgufMetadata, AKeyBeyondTheSpecificationIsRefused) {
  EXPECT_TRUE(accepted(RawFile{.metadata = {u32_entry(std::string(65535, 'k'), 1)}}));
  EXPECT_TRUE(
      refused(RawFile{.metadata = {u32_entry(std::string(65536, 'k'), 1)}}, "the limit is 65535"));
}

TEST(GgufMetadata, ADuplicateKeyIsRefused) {
  EXPECT_TRUE(refused(
      RawFile{.metadata = {u32_entry("twin", 1), u32_entry("other", 1), u32_entry("twin", 2)}},
      "the metadata key \"twin\" occurs twice"));
}

TEST(GgufMetadata, AnUnknownValueTypeIsRefused) {
  EXPECT_TRUE(
      refused(RawFile{.metadata = {entry("k", 13).u32(0)}}, "\"k\" has the unknown value type 13"));
  EXPECT_TRUE(refused(RawFile{.metadata = {entry("k", UINT32_MAX).u32(0)}},
                      "unknown value type 4294967295"));
}

TEST(GgufMetadata, AnUnknownElementTypeIsRefused) {
  EXPECT_TRUE(refused(RawFile{.metadata = {array_entry("k", 13, 0)}},
                      "\"k\" has the unknown element type 13"));
}

TEST(GgufMetadata, ANestedArrayIsRefused) {
  EXPECT_TRUE(refused(RawFile{.metadata = {array_entry("k", array_id, 1).u32(u32_id).u64(0)}},
                      "array of arrays"));
}

TEST(GgufMetadata, ABooleanOtherThanZeroAndOneIsRefused) {
  EXPECT_TRUE(accepted(RawFile{.metadata = {entry("k", bool_id).u8(0)}}));
  EXPECT_TRUE(refused(RawFile{.metadata = {entry("k", bool_id).u8(2)}},
                      "the boolean \"k\" has the byte 2"));
  EXPECT_TRUE(refused(RawFile{.metadata = {array_entry("k", bool_id, 2).u8(1).u8(255)}},
                      "has the byte 255"));
}

TEST(GgufMetadata, AWildArrayLengthIsRefusedBeforeAllocating) {
  EXPECT_TRUE(refused(RawFile{.metadata = {array_entry("k", u32_id, 3).u32(1).u32(2)}},
                      "the 3 elements of \"k\""));
  // 2^62 · 4 = 2^64 wraps to 0 (CVE-2024-23605's kind).
  EXPECT_TRUE(refused(RawFile{.metadata = {array_entry("k", u32_id, uint64_t{1} << 62)}},
                      "at least 2^64 bytes"));
  EXPECT_TRUE(refused(RawFile{.metadata = {array_entry("k", string_id, uint64_t{1} << 61)}},
                      "at least 2^64 bytes"));
  EXPECT_TRUE(refused(RawFile{.metadata = {array_entry("k", string_id, 1u << 30)}},
                      "the 1073741824 elements"));
  EXPECT_TRUE(refused(RawFile{.metadata = {array_entry("k", u8_id, UINT64_MAX)}}, "but it has"));
}

TEST(GgufMetadata, AValueCutShortIsRefused) {
  for (const uint32_t type : {u16_id, u32_id, f32_id, u64_id, f64_id}) {
    // One byte of the value: enough for the smallest entry, one to seven too few for the type.
    EXPECT_TRUE(refused(RawFile{.metadata = {entry("k", type).u8(0)}}, "the value of \"k\""))
        << type;
  }
}

TEST(GgufMetadata, OddBytesInNamesDoNotReachTheMessage) {
  const Bytes odd = entry("a\x1b[31m\n\xff", bool_id).u8(7);
  EXPECT_TRUE(refused(RawFile{.metadata = {odd}}, "\"a\\x1b[31m\\x0a\\xff\""));
}

// 131072 entries of 14 bytes and 131072 tensors of 33 are the most; 2097152 strings of 8. One more
// is refused although the bytes are there: in memory an entry takes several times its bytes.
TEST(GgufMetadata, MoreEntriesThanTheLimitsAreRefused) {
  RawFile entries{.metadata = {Bytes()}, .metadata_count = 131073};
  entries.metadata[0].data.resize(131073 * 14);
  EXPECT_TRUE(refused(entries, "131073 metadata entries are too many; the limit is 131072"));
  entries.metadata_count = 131072;
  EXPECT_TRUE(refused(entries, "empty key"));
  RawFile tensors{.metadata = {Bytes()}, .tensor_count = 131073, .metadata_count = 0};
  tensors.metadata[0].data.resize(131073 * 33);
  EXPECT_TRUE(refused(tensors, "131073 tensors are too many; the limit is 131072"));
  tensors.tensor_count = 131072;
  EXPECT_TRUE(refused(tensors, "empty name"));
}

TEST(GgufMetadata, MoreStringsThanTheLimitAreRefused) {
  for (const uint64_t count : {2097152u, 2097153u}) {
    RawFile raw{.metadata = {array_entry("k", string_id, count)}};
    raw.metadata[0].data.resize(raw.metadata[0].data.size() + count * 8);
    if (count == 2097152)
      EXPECT_TRUE(accepted(raw));
    else
      EXPECT_TRUE(
          refused(raw, "\"k\" has 2097153 strings, which are too many; the limit is 2097152"));
  }
}

// Escapes would reach the terminal, newlines make a second line, a megabyte hide the sentence.
TEST(GgufMessages, TextOfAFileIsShownAsPrintableAscii) {
  EXPECT_EQ(printable("llama \"2\""), "llama \"2\"");
  EXPECT_EQ(printable(std::string_view("\x1b[2J\n\0\x7f\xff", 8)), "\\x1b[2J\\x0a\\x00\\x7f\\xff");
  EXPECT_EQ(printable(std::string(64, 'x')), std::string(64, 'x'));
  EXPECT_EQ(printable(std::string(65, 'x')), std::string(64, 'x') + "…");
  EXPECT_EQ(in_quotes("a"), "\"a\"");
}

// Quadratic look-ups or duplicate checks over this many names would take minutes.
TEST(GgufMetadata, HundredThousandKeysTakeNoQuadraticTime) {
  RawFile raw;
  for (uint32_t i = 0; i < 100000; ++i)
    raw.metadata.push_back(u32_entry("key." + std::to_string(i), i));
  const auto bytes = raw.bytes();
  const auto file = File::parse(bytes, "x.gguf");
  ASSERT_TRUE(file) << file.error().message;
  for (uint32_t i = 0; i < 100000; ++i)
    ASSERT_EQ(**file->unsigned_value("key." + std::to_string(i)), i);
}

}  // namespace
}  // namespace assay::gguf
