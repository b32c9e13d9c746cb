// What the writer writes, the reader reads; and what the format says stands at its place.
#include "gguf/writer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "gguf/raw.h"
#include "support/scratch.h"

namespace assay::gguf {
namespace {

std::vector<uint8_t> counting(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i + 1);
  return bytes;
}

Writer example(uint32_t alignment) {
  Writer writer(alignment);
  writer.add_u32("u32", 4000000000u);
  writer.add_i32("i32", -5);
  writer.add_u64("u64", UINT64_MAX);
  writer.add_f32("f32", 0.1f);
  writer.add_bool("yes", true);
  writer.add_bool("no", false);
  writer.add_string("string", "grüße");
  writer.add_string_array("strings", std::vector<std::string>{"x", "", "zz"});
  writer.add_f32_array("floats", std::vector<float>{1.5f, -2.0f});
  writer.add_i32_array("integers", std::vector<int32_t>{-1, 7});
  writer.add_bool_array("truths", std::vector<bool>{true, false, true});
  writer.add_tensor("odd", 0, {3}, [] { return counting(12); });
  writer.add_tensor("blocks", 3, {64, 3},
                    [] { return counting(120); });  // Q4_1: 6 blocks of 20 bytes
  return writer;
}

void expect_example(const File& file, uint64_t alignment) {
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.alignment(), alignment);
  EXPECT_EQ(**file.unsigned_value("u32"), 4000000000u);
  EXPECT_EQ(std::get<int64_t>(file.find("i32")->data), -5);
  EXPECT_EQ(**file.unsigned_value("u64"), UINT64_MAX);
  EXPECT_EQ(**file.real_value("f32"), double{0.1f});
  EXPECT_EQ(**file.bool_value("yes"), true);
  EXPECT_EQ(**file.bool_value("no"), false);
  EXPECT_EQ(**file.string_value("string"), "grüße");
  const auto& strings = std::get<Array>(file.find("strings")->data);
  EXPECT_EQ(strings.strings, (std::vector<std::string_view>{"x", "", "zz"}));
  const auto& floats = std::get<Array>(file.find("floats")->data);
  EXPECT_EQ(floats.count, 2u);
  EXPECT_EQ(floats.real(1), -2.0);
  EXPECT_EQ(std::get<Array>(file.find("integers")->data).integer(0), -1);
  const auto& truths = std::get<Array>(file.find("truths")->data);
  EXPECT_EQ(truths.type, ValueType::boolean);
  EXPECT_TRUE(std::ranges::equal(truths.bytes, std::vector<uint8_t>{1, 0, 1}));
  ASSERT_EQ(file.tensors().size(), 2u);
  for (const Tensor& tensor : file.tensors())
    EXPECT_EQ(tensor.offset % alignment, 0u) << tensor.name;
  EXPECT_TRUE(std::ranges::equal(file.find_tensor("odd")->data, counting(12)));
  EXPECT_TRUE(std::ranges::equal(file.find_tensor("blocks")->data, counting(120)));
  EXPECT_EQ(file.find_tensor("blocks")->dims, (std::array<uint64_t, 4>{64, 3, 1, 1}));
}

// A head of 24 + 39 + 33 = 96 bytes ends on a multiple of 32, and so does tensor "a" after it: no
// gap.
TEST(GgufWriter, PadsNothingWhereNothingIsMissing) {
  Writer writer(32);
  writer.add_string("k", "012345678901234567");                 // 8 + 1 + 4 + 8 + 18 = 39
  writer.add_tensor("a", 0, {8}, [] { return counting(32); });  // 8 + 1 + 4 + 8 + 4 + 8 = 33
  const std::vector<uint8_t> one = writer.bytes();
  EXPECT_EQ(one.size(), 24u + 39u + 33u + 32u);
  writer.add_tensor("bcdefg", 0, {1, 1}, [] { return counting(4); });
  const std::vector<uint8_t> two = writer.bytes();
  const auto file = File::parse(two, "memory");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_TRUE(std::ranges::equal(file->find_tensor("a")->data, counting(32)));
  EXPECT_TRUE(std::ranges::equal(file->find_tensor("bcdefg")->data, counting(4)));
  EXPECT_EQ(file->find_tensor("bcdefg")->data.data() - file->find_tensor("a")->data.data(), 32);
}

TEST(GgufWriter, RoundTripThroughBytes) {
  for (const uint32_t alignment : {8u, 32u, 256u}) {
    const auto bytes = example(alignment).bytes();
    const auto file = File::parse(bytes, "x.gguf");
    ASSERT_TRUE(file) << file.error().message;
    expect_example(*file, alignment);
  }
}

TEST(GgufWriter, TheHeadIsAsTheSpecificationSays) {
  Writer writer;
  writer.add_bool("b", true);
  writer.add_tensor("t", 0, {2}, [] { return counting(8); });
  Bytes wanted;
  wanted.append({'G', 'G', 'U', 'F'}).u32(3).u64(1).u64(1);
  wanted.text("b").u32(bool_id).u8(1);
  wanted.text("t").u32(1).u64(2).u32(0).u64(0);
  ASSERT_EQ(wanted.data.size(), 24u + 14 + 33);
  wanted.data.resize(96);  // data begin at the next multiple of 32
  wanted.append(counting(8));
  wanted.data.resize(128);  // and end on one
  EXPECT_EQ(writer.bytes(), wanted.data);
}

class GgufWriterFile : public testing::Test {
 protected:
  size_t files() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }
  const assay::tests::Scratch scratch_;
  const std::filesystem::path& folder_ = scratch_.path;
};

TEST_F(GgufWriterFile, RoundTripThroughAFile) {
  const std::string path = folder_ / "m.gguf";
  const Writer writer = example(32);
  const Status written = writer.write(path);
  ASSERT_TRUE(written) << written.error().message;
  EXPECT_EQ(files(), 1u);  // no .part stays
  const auto file = File::open(path);
  ASSERT_TRUE(file) << file.error().message;
  expect_example(*file, 32);
  EXPECT_TRUE(std::ranges::equal(file->bytes(), writer.bytes()));
}

TEST_F(GgufWriterFile, AProducerOfAnotherSizeIsAnErrorAndLeavesNoFile) {
  Writer writer;
  writer.add_tensor("short", 0, {3}, [] { return counting(11); });
  const std::string path = folder_ / "m.gguf";
  const Status written = writer.write(path);
  ASSERT_FALSE(written);
  EXPECT_EQ(
      written.error().message,
      path + ": cannot write the file: tensor \"short\" takes 12 bytes, but 11 were produced");
  EXPECT_EQ(files(), 0u);
}

TEST_F(GgufWriterFile, ACheckSeesTheWholeFileBeforeItHasItsName) {
  const std::string path = folder_ / "m.gguf";
  const Writer writer = example(32);
  const Status refused = writer.write(path, [&](const std::string& part) -> Status {
    EXPECT_EQ(part, path + ".part");
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_TRUE(File::open(part));
    return Error{"not this one"};
  });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "not this one");
  EXPECT_EQ(files(), 0u);
  EXPECT_TRUE(writer.write(path, [](const std::string&) { return ok(); }));
  EXPECT_EQ(files(), 1u);
}

TEST_F(GgufWriterFile, AnImpossibleShapeIsAnError) {
  const auto message = [&](uint32_t type, std::vector<uint64_t> dims) {
    Writer writer;
    writer.add_tensor("t", type, std::move(dims), [] { return counting(4); });
    const Status written = writer.write(folder_ / "m.gguf");
    return written ? "written" : written.error().message;
  };
  EXPECT_NE(message(8, {33}).find("not a multiple of the 32"), std::string::npos);
  EXPECT_NE(message(99, {32}).find("unknown type 99"), std::string::npos);
  EXPECT_NE(message(8, {}).find("have 1 weights, not a multiple"), std::string::npos);
  EXPECT_NE(message(0, {1, 1, 1, 1, 1}).find("5 dimensions"), std::string::npos);
  EXPECT_NE(message(0, {4, 0}).find("no elements"), std::string::npos);
  EXPECT_NE(message(0, {uint64_t{1} << 62}).find("too many"), std::string::npos);
  EXPECT_EQ(files(), 0u);
}

TEST_F(GgufWriterFile, AFolderThatIsNotThereIsAnError) {
  const Status written = example(32).write(folder_ / "absent" / "m.gguf");
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().message.find("No such file or directory"), std::string::npos);
}

}  // namespace
}  // namespace assay::gguf
