#include "trace/npy.h"

#include <gmock/gmock.h>

#include <cstring>
#include <filesystem>

#include "base/mix64.h"
#include "support/scratch.h"

namespace assay::trace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<uint8_t> file(const std::string& header, const std::vector<uint8_t>& data,
                          uint8_t version = 1, int64_t announced = -1) {
  std::vector<uint8_t> bytes = {0x93, 'N', 'U', 'M', 'P', 'Y', version, 0};
  const uint64_t length = announced < 0 ? header.size() : uint64_t(announced);
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) bytes.push_back(uint8_t(length >> (8 * i)));
  bytes.insert(bytes.end(), header.begin(), header.end());
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

std::string header(const std::string& descr, const std::string& shape,
                   const char* order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

std::string refusal(const std::vector<uint8_t>& bytes) {
  const auto parsed = parse_npy(bytes, "x");
  return parsed ? "accepted" : parsed.error().message;
}

template <class T>
std::vector<uint8_t> bytes_of(std::initializer_list<T> values) {
  std::vector<uint8_t> out(values.size() * sizeof(T));
  std::memcpy(out.data(), std::data(values), out.size());
  return out;
}

TEST(Npy, ReadsEveryTypeAndVersion) {
  const auto values = [](const std::string& descr, const std::vector<uint8_t>& data,
                         uint8_t version = 1) {
    const auto parsed = parse_npy(file(header(descr, "(2,)"), data, version), "x");
    return parsed ? parsed->values() : std::vector<double>();
  };
  EXPECT_THAT(values("<f4", bytes_of({1.5f, -2.0f})), ElementsAre(1.5, -2.0));
  EXPECT_THAT(values("<f8", bytes_of({0.1, 1e300}), 2), ElementsAre(0.1, 1e300));
  EXPECT_THAT(values("<f2", bytes_of<uint16_t>({0x3C00, 0xC000}), 3), ElementsAre(1.0, -2.0));
  EXPECT_THAT(values("<i4", bytes_of<int32_t>({-7, 1 << 30})), ElementsAre(-7.0, 1073741824.0));
  EXPECT_THAT(values("<i8", bytes_of<int64_t>({-1, int64_t(1) << 40})),
              ElementsAre(-1.0, 1099511627776.0));
  EXPECT_THAT(values("|u1", bytes_of<uint8_t>({0, 255})), ElementsAre(0.0, 255.0));
}

TEST(Npy, FortranOrderBecomesCOrder) {
  // Element (i, j, k) of a (2, 3, 2) array is 100i + 10j + k; in Fortran order i runs fastest.
  std::vector<uint8_t> data;
  for (uint8_t k = 0; k < 2; ++k)
    for (uint8_t j = 0; j < 3; ++j)
      for (uint8_t i = 0; i < 2; ++i) data.push_back(uint8_t(100 * i + 10 * j + k));
  const auto parsed = parse_npy(file(header("|u1", "(2, 3, 2)", "True"), data), "x");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_THAT(parsed->bytes, ElementsAre(0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121));
  EXPECT_THAT(parsed->shape, ElementsAre(2, 3, 2));
}

TEST(Npy, ScalarsAndEmptyArrays) {
  EXPECT_EQ(parse_npy(file(header("<f4", "()"), bytes_of({3.0f})), "x")->values()[0], 3.0);
  EXPECT_EQ(parse_npy(file(header("<f4", "(0, 5)"), {}), "x")->elements(), 0u);
  EXPECT_EQ(parse_npy(file(header("<f4", "(0, 5)", "True"), {}), "x")->elements(), 0u);
}

TEST(Npy, HostileHeadersAreRefusedInOneSentence) {
  const std::vector<uint8_t> four(4);
  EXPECT_THAT(refusal({}), HasSubstr("x: not a .npy file: it begins with nothing"));
  EXPECT_THAT(refusal({'P', 'K', 3, 4, 0, 0, 0, 0, 0, 0, 0, 0}), HasSubstr("begins with 50 4b"));
  EXPECT_THAT(refusal(file(header("<f4", "(1,)"), four, 4)), HasSubstr("version 4.0"));
  EXPECT_THAT(refusal(file(header("<f4", "(1,)"), four, 2, 0xFFFFFFFF)), HasSubstr("truncated"));
  EXPECT_THAT(refusal(file("    ", {})), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(refusal(file("{'descr': '<f4', ", four)), HasSubstr("a key and ':'"));
  EXPECT_THAT(refusal(file("{'descr': '<f4'}", four)), HasSubstr("is missing"));
  EXPECT_THAT(refusal(file(header("<f4", "(1,)") + "x", four)), HasSubstr("follows"));
  EXPECT_THAT(refusal(file(header(">f4", "(1,)"), four)), HasSubstr("big-endian"));
  EXPECT_THAT(refusal(file(header("<V2", "(2,)"), four)),
              HasSubstr("this is how bfloat16 is saved"));
  EXPECT_THAT(refusal(file(header("|V2", "(2,)"), four)), HasSubstr("array.astype('float32')"));
  EXPECT_THAT(refusal(file(header("<c8", "(1,)"), four)), HasSubstr("'<c8' is not supported"));
  EXPECT_THAT(refusal(file(header("|O", "(1,)"), four)), HasSubstr("is not supported"));
  EXPECT_THAT(
      refusal(file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", four)),
      HasSubstr("descr is not one plain type"));
  EXPECT_THAT(refusal(file(header("<f4", "(1,)", "1"), four)), HasSubstr("fortran_order"));
  EXPECT_THAT(refusal(file(header("<f4", "(-1,)"), four)), HasSubstr("whole numbers"));
  EXPECT_THAT(refusal(file(header("<f4", "(99999999999999999999,)"), four)),
              HasSubstr("whole numbers"));
  EXPECT_THAT(refusal(file(header("<f4", "(1 2)"), four)), HasSubstr("is wanted"));
  EXPECT_THAT(refusal(file("{'shape': (1,), 'shape': (1,)}", four)), HasSubstr("occurs twice"));
  // 2^62 · 4 is 2^64: it would wrap to no bytes at all.
  EXPECT_THAT(refusal(file(header("<f4", "(4611686018427387904,)"), {})), HasSubstr("wraps"));
  EXPECT_THAT(refusal(file(header("<f4", "(2,)"), four)), HasSubstr("truncated: its shape (2,)"));
  EXPECT_THAT(refusal(file(header("<f4", "(1,)"), bytes_of({1.0f, 2.0f}))),
              HasSubstr("needs 4 bytes, but 8 follow"));
  std::string many = "(";
  for (int i = 0; i < 17; ++i) many += "1,";
  EXPECT_THAT(refusal(file(header("<f4", many + ")"), four)), HasSubstr("more than 16"));
}

TEST(Npy, RandomEditsNeverPassTheFilesEnd) {
  const auto whole =
      file(header("<f4", "(3, 2)", "True"), bytes_of({1.f, 2.f, 3.f, 4.f, 5.f, 6.f}));
  uint64_t accepted = 0;
  for (uint64_t seed = 0; seed < 20000; ++seed) {
    auto bytes = whole;
    for (uint64_t edit = 0; edit < 1 + mix64(seed) % 3; ++edit)
      bytes[mix64(seed * 7 + edit) % bytes.size()] = uint8_t(mix64(seed * 13 + edit));
    const auto parsed = parse_npy(bytes, "x");
    if (!parsed) continue;
    ++accepted;
    EXPECT_LE(parsed->bytes.size(), bytes.size());
    EXPECT_EQ(parsed->values().size(), parsed->elements());
  }
  EXPECT_GT(accepted, 1000u);  // edits of the data alone
}

TEST(Npy, WrittenFilesAreReadAgain) {
  const assay::tests::Scratch scratch;
  const auto path = (scratch.path / "values.npy").string();
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  ASSERT_TRUE(write_npy(path, {2, 3}, values));
  const auto read = read_npy(path);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_THAT(read->shape, ElementsAre(2, 3));
  EXPECT_THAT(read->values(), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ((std::filesystem::file_size(path) - 24) % 64, 0u);  // the data are aligned
  std::filesystem::remove(path);
  EXPECT_THAT(read_npy(path).error().message, HasSubstr("cannot read"));
}

}  // namespace
}  // namespace assay::trace
