#include "trace/safetensors_file.h"

#include <gmock/gmock.h>

#include <cstring>

namespace assay::trace {
namespace {

using ::testing::HasSubstr;

std::vector<uint8_t> file(const std::string& header, const std::vector<uint8_t>& data = {},
                          int64_t announced = -1) {
  const uint64_t length = announced < 0 ? header.size() : uint64_t(announced);
  std::vector<uint8_t> bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(uint8_t(length >> (8 * i)));
  bytes.insert(bytes.end(), header.begin(), header.end());
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

std::string refusal(const std::vector<uint8_t>& bytes) {
  const auto parsed = parse_safetensors(bytes, "x");
  return parsed ? "accepted" : parsed.error().message;
}

std::string refusal_of(const std::string& header, size_t data = 0) {
  return refusal(file(header, std::vector<uint8_t>(data)));
}

TEST(SafetensorsFile, ReadsShapesMetadataAndValues) {
  std::vector<uint8_t> data;
  const auto put = [&](auto value) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
    data.insert(data.end(), bytes, bytes + sizeof(value));
  };
  put(1.5f), put(-2.0f);                         // f 0..8
  put(uint16_t(0x3C00)), put(uint16_t(0x3F80));  // h 8..10: F16 one; b 10..12: BF16 one
  put(0.1), put(int32_t(-7));                    // d 12..20, i 20..24
  put(int64_t(16777217));                        // l 24..32, which is no f32
  const auto bytes = file(
      R"({"i":{"dtype":"I32","shape":[],"data_offsets":[20,24]},"__metadata__":{"k":"v"},
          "f":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},
          "h":{"dtype":"F16","shape":[1],"data_offsets":[8,10]},
          "b":{"dtype":"BF16","shape":[1],"data_offsets":[10,12]},
          "d":{"dtype":"F64","shape":[1],"data_offsets":[12,20]},
          "l":{"dtype":"I64","shape":[1],"data_offsets":[24,32]},
          "none":{"dtype":"U8","shape":[0,5],"data_offsets":[32,32]}})",
      data);
  const auto parsed = parse_safetensors(bytes, "x");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->metadata.at("k"), "v");
  ASSERT_EQ(parsed->tensors.size(), 7u);
  EXPECT_EQ(parsed->tensors[0].name, "f");
  EXPECT_EQ(parsed->tensors[0].shape, (std::vector<uint64_t>{2, 1}));
  const auto values = [&](const char* name) { return *to_f32(*parsed->find(name)); };
  EXPECT_EQ(values("f"), (std::vector<float>{1.5f, -2.0f}));
  EXPECT_EQ(values("h"), (std::vector<float>{1.0f}));
  EXPECT_EQ(values("b"), (std::vector<float>{1.0f}));
  EXPECT_EQ(values("d"), (std::vector<float>{0.1f}));
  EXPECT_EQ(values("i"), (std::vector<float>{-7.0f}));
  EXPECT_EQ(parsed->find("i")->elements, 1u);  // a scalar
  EXPECT_EQ(values("l"), (std::vector<float>{16777216.0f}));
  EXPECT_EQ(parsed->find("none")->elements, 0u);
  EXPECT_THAT(to_f32(*parsed->find("none")).error().message, HasSubstr("the type U8; wanted"));
  EXPECT_EQ(parsed->find("absent"), nullptr);
}

TEST(SafetensorsFile, TruncatedFilesAreRefused) {
  EXPECT_THAT(refusal({1, 2, 3}), HasSubstr("x: truncated: 3 bytes are too few"));
  EXPECT_THAT(refusal(file("{}", {}, 3)), HasSubstr("the header has 3 bytes, the file 2 after"));
  EXPECT_THAT(refusal(file("{}", {}, 100'000'001)), HasSubstr("a header of 100000001 bytes"));
}

TEST(SafetensorsFile, HeadersOfAnotherShapeAreRefused) {
  EXPECT_THAT(refusal_of(""), HasSubstr("not JSON"));
  EXPECT_THAT(refusal_of("{"), HasSubstr("not JSON"));
  EXPECT_THAT(refusal_of("{}{}"), HasSubstr("not JSON"));
  EXPECT_THAT(refusal_of("[]"), HasSubstr("a list where an object is expected"));
  EXPECT_THAT(refusal_of("7"), HasSubstr("a number where an object is expected"));
  EXPECT_THAT(refusal_of(R"({"t":{"x":{}}})"), HasSubstr("unknown 'x'"));
  EXPECT_THAT(refusal_of(R"({"t":{"shape":[[1]]}})"), HasSubstr("a list in 't'"));
  EXPECT_THAT(refusal_of(R"({"t":{"shape":[-1]}})"), HasSubstr("a negative number in 't'"));
  EXPECT_THAT(refusal_of(R"({"t":{"dtype":null}})"), HasSubstr("null in 't'"));
  EXPECT_THAT(refusal_of(R"({"__metadata__":{"k":1}})"), HasSubstr("a number in '__metadata__'"));
  EXPECT_THAT(refusal_of(R"({"t":{"shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}})"),
              HasSubstr("more than 16"));
  EXPECT_THAT(refusal_of(std::string(100'000, '[')), HasSubstr("where an object is expected"));
}

TEST(SafetensorsFile, NamesAndKeysStandOnce) {
  const std::string one = R"("t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_EQ(refusal_of("{" + one + "}"), "accepted");
  EXPECT_THAT(refusal_of("{" + one + "," + one + "}"), HasSubstr("'t' occurs twice"));
  EXPECT_THAT(refusal_of(R"({"t":{"shape":[0],"shape":[0]}})"), HasSubstr("'shape' of 't' occurs"));
}

TEST(SafetensorsFile, TensorsAreCheckedAgainstTheData) {
  const auto tensor = [](const std::string& body, size_t data = 4) {
    return refusal_of(R"({"t":{)" + body + "}}", data);
  };
  EXPECT_THAT(tensor(R"("dtype":"F31","shape":[1],"data_offsets":[0,4])"), HasSubstr("'F31'"));
  EXPECT_THAT(tensor(R"("dtype":"F32","data_offsets":[0,4])"), HasSubstr("no shape"));
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":[1])"), HasSubstr("not two numbers"));
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,4])"), HasSubstr("not two"));
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"),
              HasSubstr("needs 8 bytes, but it has 4"));
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), HasSubstr("bytes 4 to"));
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"), HasSubstr("not in the"));
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4])"),
              HasSubstr("overflows 64 bits"));
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])", 5),
              HasSubstr("1 bytes follow the last tensor"));
}

TEST(SafetensorsFile, TensorsNeitherOverlapNorLeaveHoles) {
  const auto pair = [](const std::string& second) {
    return refusal_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                      R"("b":{"dtype":"U8","shape":[4],"data_offsets":)" +
                          second + "}}",
                      9);
  };
  EXPECT_THAT(pair("[3,7]"), HasSubstr("tensor 'b' overlaps what stands before it"));
  EXPECT_THAT(pair("[5,9]"), HasSubstr("tensor 'b' leaves a hole after"));
  EXPECT_THAT(pair("[4,8]"), HasSubstr("1 bytes follow the last tensor"));
}

}  // namespace
}  // namespace assay::trace
