// A model split over several files: joined, or refused with a sentence that names the shard.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "gguf/raw.h"
#include "support/scratch.h"

namespace assay::gguf {
namespace {

Bytes u16_entry(const std::string& key, uint16_t value) {
  return entry(key, u16_id).number(value);
}
Bytes i32_entry(const std::string& key, int32_t value) {
  return entry(key, i32_id).number(value);
}

/// The keys of a shard in the types that gguf-split writes.
std::vector<Bytes> split_entries(uint16_t number, uint16_t count, int32_t tensors) {
  return {u16_entry("split.no", number), u16_entry("split.count", count),
          i32_entry("split.tensors.count", tensors)};
}

/// Three shards: metadata and tensor "a"; tensors "b", "c"; tensor "d". F32, 8 values each.
class GgufSplit : public testing::Test {
 protected:
  void SetUp() override {
    for (uint16_t i = 0; i < 3; ++i) shards_[i].metadata = split_entries(i, 3, 4);
    shards_[0].metadata.push_back(entry("general.architecture", string_id).text("llama"));
    shards_[0].metadata.push_back(array_entry("list", i32_id, 2).u32(1).u32(2));
    shards_[0].tensors = {{.name = "a"}};
    shards_[1].tensors = {{.name = "b"}, {.name = "c", .offset = 32}};
    shards_[2].tensors = {{.name = "d"}};
    for (RawFile& shard : shards_) shard.data_bytes = 32 * shard.tensors.size();
  }

  std::string path(int number, int count = 3) const {
    return (folder_ / fmt::format("m-{:05}-of-{:05}.gguf", number, count)).string();
  }
  /// The last byte of each tensor's data tells the tensors apart.
  void write() {
    for (int i = 0; i < 3; ++i) {
      auto bytes = shards_[i].bytes();
      const size_t count = shards_[i].tensors.size();
      for (size_t t = 0; t < count; ++t)
        bytes[bytes.size() - 1 - 32 * (count - 1 - t)] = uint8_t(shards_[i].tensors[t].name[0]);
      std::ofstream(path(i + 1), std::ios::binary | std::ios::trunc)
          .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
    }
  }
  /// What opening shard `number` says, without the folder's name.
  std::string refusal(int number = 1) {
    const auto file = File::open(path(number));
    if (file) return "accepted";
    EXPECT_EQ(file.error().exit, Exit::cannot);
    std::string message = file.error().message;
    const std::string folder = folder_.string() + "/";
    for (size_t at; (at = message.find(folder)) != std::string::npos;)
      message.erase(at, folder.size());
    return message;
  }

  const assay::tests::Scratch scratch_;
  const std::filesystem::path& folder_ = scratch_.path;
  std::array<RawFile, 3> shards_;
};

TEST_F(GgufSplit, TheFirstShardOpensAll) {
  write();
  const auto file = File::open(path(1));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->path(), path(1));
  EXPECT_EQ(**file->string_value("general.architecture"), "llama");
  ASSERT_EQ(file->tensors().size(), 4u);
  ASSERT_EQ(file->parts().size(), 3u);
  uint64_t sum = 0;
  for (int i = 1; i <= 3; ++i) sum += std::filesystem::file_size(path(i));
  EXPECT_EQ(file->size(), sum);
  const uint32_t parts[] = {0, 1, 1, 2};
  for (size_t i = 0; i < 4; ++i) {
    const std::string name(1, char('a' + i));
    const Tensor* tensor = file->find_tensor(name);
    ASSERT_NE(tensor, nullptr) << name;
    EXPECT_EQ(tensor->data.back(), uint8_t(name[0]));
    EXPECT_EQ(tensor->part, parts[i]);
    EXPECT_EQ(tensor->data.data(), file->parts()[tensor->part].data() + tensor->offset);
    file->release(tensor->data);
    EXPECT_EQ(tensor->data.back(), uint8_t(name[0])) << "released bytes stay readable";
  }
}

// A release that reaches beyond its shard's mapping would drop pages of someone else.
TEST_F(GgufSplit, EveryShardCanBeReleasedWhole) {
  shards_[2].tensors[0].dims = {8192};
  shards_[2].data_bytes = 8192 * 4;
  write();
  const auto file = File::open(path(1));
  ASSERT_TRUE(file) << file.error().message;
  for (const auto part : file->parts()) {
    const std::vector<uint8_t> before(part.begin(), part.end());
    file->release(part);
    EXPECT_TRUE(std::ranges::equal(part, before));
  }
}

TEST_F(GgufSplit, TheFirstShardMayHoldNoTensors) {
  shards_[1].tensors.insert(shards_[1].tensors.begin(), {.name = "a"});
  shards_[1].tensors[1].offset = 32;
  shards_[1].tensors[2].offset = 64;
  shards_[1].data_bytes = 96;
  shards_[0].tensors.clear();
  shards_[0].data_bytes = 0;
  write();
  const auto file = File::open(path(1));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->find_tensor("a")->part, 1u);
}

TEST_F(GgufSplit, AMissingShardIsNamed) {
  write();
  std::filesystem::remove(path(2));
  EXPECT_EQ(refusal(), "m-00002-of-00003.gguf: shard 2 of 3 is missing");
}

TEST_F(GgufSplit, AnotherShardThanTheFirstNamesTheFirst) {
  write();
  EXPECT_EQ(refusal(2),
            "m-00002-of-00003.gguf: this is shard 2 of 3; give the first, m-00001-of-00003.gguf");
  std::filesystem::rename(path(2), folder_ / "x.gguf");
  EXPECT_EQ(File::open(folder_ / "x.gguf").error().message,
            (folder_ / "x.gguf").string() +
                ": this is shard 2 of 3; give the first, whose name ends in -00001-of-00003.gguf");
}

TEST_F(GgufSplit, AFirstShardOfAnotherNameIsRefused) {
  write();
  std::filesystem::rename(path(1), folder_ / "x.gguf");
  const auto file = File::open(folder_ / "x.gguf");
  ASSERT_FALSE(file);
  EXPECT_TRUE(file.error().message.ends_with(
      "x.gguf: this is shard 1 of 3, but its name does not end in -00001-of-00003.gguf, so the "
      "others can't be found"))
      << file.error().message;
}

TEST_F(GgufSplit, AShardInAnothersPlaceIsRefused) {
  write();
  std::filesystem::copy_file(path(3), path(2), std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(refusal(),
            "m-00002-of-00003.gguf: not shard 2 of 3 of this model: it says that it is shard 3 of "
            "3");
}

TEST_F(GgufSplit, AShardOfAnotherSplitIsRefused) {
  shards_[1].metadata = split_entries(1, 4, 4);
  write();
  EXPECT_EQ(refusal(),
            "m-00002-of-00003.gguf: not shard 2 of 3 of this model: it says that it is shard 2 of "
            "4");
}

TEST_F(GgufSplit, AWholeFileInAShardsPlaceIsRefused) {
  shards_[1].metadata.clear();
  write();
  EXPECT_EQ(
      refusal(),
      "m-00002-of-00003.gguf: not shard 2 of 3 of this model: it is not a shard (split.count is "
      "absent or below 2)");
}

TEST_F(GgufSplit, AShardOfAnotherModelIsRefused) {
  shards_[1].metadata.push_back(entry("general.architecture", string_id).text("gemma"));
  write();
  EXPECT_EQ(refusal(),
            "m-00002-of-00003.gguf: not shard 2 of 3 of this model: its \"general.architecture\" "
            "differs from the first shard's");
}

TEST_F(GgufSplit, AShardWithKeysThatTheFirstLacksIsRefused) {
  shards_[2].metadata.push_back(u32_entry("extra", 1));
  write();
  EXPECT_EQ(refusal(),
            "m-00003-of-00003.gguf: not shard 3 of 3 of this model: the first shard has no "
            "\"extra\"");
}

TEST_F(GgufSplit, KeysThatShardsRepeatMustBeEqual) {
  shards_[1].metadata.push_back(entry("general.architecture", string_id).text("llama"));
  shards_[1].metadata.push_back(array_entry("list", i32_id, 2).u32(1).u32(2));
  write();
  EXPECT_EQ(refusal(), "accepted");
  shards_[1].metadata.back() = array_entry("list", i32_id, 2).u32(1).u32(3);
  write();
  EXPECT_NE(refusal().find("its \"list\" differs"), std::string::npos) << refusal();
  shards_[1].metadata.back() = u32_entry("list", 1);
  write();
  EXPECT_NE(refusal().find("its \"list\" differs"), std::string::npos) << refusal();
}

TEST_F(GgufSplit, ATensorInTwoShardsIsRefused) {
  shards_[2].tensors[0].name = "a";
  write();
  EXPECT_EQ(refusal(), "m-00001-of-00003.gguf: the tensor \"a\" is in more than one shard");
}

TEST_F(GgufSplit, TheNumberOfTensorsIsChecked) {
  for (uint16_t i = 0; i < 3; ++i) shards_[i].metadata[2] = i32_entry("split.tensors.count", 5);
  write();
  EXPECT_EQ(refusal(),
            "m-00001-of-00003.gguf: split.tensors.count is 5, but the 3 shards hold 4 tensors");
  shards_[1].metadata[2] = i32_entry("split.tensors.count", 4);
  write();
  EXPECT_EQ(refusal(),
            "m-00002-of-00003.gguf: not shard 2 of 3 of this model: its split.tensors.count is 4, "
            "the first shard's 5");
}

TEST_F(GgufSplit, ADamagedShardIsNamed) {
  write();
  std::filesystem::resize_file(path(3), 100);
  const std::string message = refusal();
  EXPECT_TRUE(message.starts_with("m-00003-of-00003.gguf: truncated")) << message;
  std::filesystem::resize_file(path(3), 0);
  EXPECT_EQ(refusal(), "m-00003-of-00003.gguf: the file is empty (0 bytes)");
  std::filesystem::remove(path(3));
  std::filesystem::create_directory(path(3));
  EXPECT_EQ(refusal(), "m-00003-of-00003.gguf: this is a directory, not a GGUF file");
}

TEST_F(GgufSplit, WildNumbersAreRefused) {
  const auto with = [&](std::vector<Bytes> entries) {
    shards_[0].metadata = std::move(entries);
    write();
    return refusal();
  };
  EXPECT_EQ(with(split_entries(3, 3, 4)),
            "m-00001-of-00003.gguf: split.no is 3, but there are only 3 shards (numbered from 0)");
  EXPECT_EQ(with({entry("split.count", u64_id).u64(UINT64_MAX), u16_entry("split.no", 0),
                  i32_entry("split.tensors.count", 4)}),
            "m-00001-of-00003.gguf: split.count is 18446744073709551615; the limit is 65535");
  EXPECT_EQ(with({u16_entry("split.count", 3), i32_entry("split.tensors.count", 4)}),
            "m-00001-of-00003.gguf: split.count is there, but split.no is missing");
  EXPECT_EQ(with({u16_entry("split.count", 3), u16_entry("split.no", 0)}),
            "m-00001-of-00003.gguf: split.count is there, but split.tensors.count is missing");
  EXPECT_EQ(with(split_entries(0, 3, -4)),
            "m-00001-of-00003.gguf: \"split.tensors.count\" is -4; it must not be negative");
  EXPECT_EQ(with({entry("split.count", string_id).text("3")}),
            "m-00001-of-00003.gguf: \"split.count\" has the type string; wanted an integer");
}

// gguf-split --merge leaves split.count = 0 behind.
TEST_F(GgufSplit, CountsOfZeroAndOneAreWholeFiles) {
  for (const uint16_t count : {0, 1}) {
    shards_[0].metadata = split_entries(0, count, 4);
    write();
    EXPECT_EQ(refusal(), "accepted") << count;
  }
}

TEST_F(GgufSplit, BytesInMemoryThatAreAShardAreRefused) {
  EXPECT_TRUE(refused(shards_[0], "this is shard 1 of 3; the others are not here"));
}

}  // namespace
}  // namespace assay::gguf
