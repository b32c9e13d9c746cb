// Files that aren't GGUF, or not of a kind that assay reads; and paths that aren't files.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "gguf/raw.h"
#include "support/scratch.h"

namespace assay::gguf {
namespace {

std::vector<uint8_t> text(const std::string& value) {
  return {value.begin(), value.end()};
}

TEST(GgufIdentify, AFileWithNothingInItIsAccepted) {
  EXPECT_TRUE(accepted(RawFile{}));
  EXPECT_TRUE(accepted(RawFile{.version = 2}));
}

TEST(GgufIdentify, NotGgufShowsTheFirstBytes) {
  EXPECT_TRUE(refused(text("\x01\x02xyz"),
                      "not a GGUF file: it begins with 01 02 78 79 7a \"\\x01\\x02xyz\""));
}

TEST(GgufIdentify, AnHtmlPageIsCalledSo) {
  EXPECT_TRUE(refused(text("<!DOCTYPE html><html><body>404</body></html>"),
                      "this looks like an HTML page"));
  EXPECT_TRUE(refused(text("\xef\xbb\xbf\n  <HTML lang=en>"), "this looks like an HTML page"));
}

TEST(GgufIdentify, OtherFilesPeopleHaveAreCalledByName) {
  EXPECT_TRUE(refused(text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"));
  EXPECT_TRUE(refused(text(std::string("\x40\0\0\0\0\0\0\0", 8) + "{\"a\":{}}"), "safetensors"));
  EXPECT_TRUE(refused(text("PK\x03\x04 archive/data.pkl"), "zip archive"));
  EXPECT_TRUE(refused(text("tjgg\x03\0\0\0"), "before GGUF"));
  EXPECT_TRUE(refused(text("{\"error\": \"not found\"}"), "JSON"));
}

TEST(GgufIdentify, EmptyBytesAreRefused) {
  EXPECT_TRUE(refused(std::vector<uint8_t>{}, "empty (0 bytes)"));
}

TEST(GgufIdentify, AHeaderCutShortTellsExpectedAndActualBytes) {
  EXPECT_TRUE(refused(text("GGU"), "truncated: a GGUF header has 24 bytes, the file has 3"));
  std::vector<uint8_t> bytes = RawFile{}.bytes();
  ASSERT_EQ(bytes.size(), 24u);  // magic 4, version 4, two counts of 8
  bytes.resize(23);
  EXPECT_TRUE(refused(bytes, "at least 24 bytes, but it has 23"));
}

TEST(GgufIdentify, BigEndianIsRefusedByName) {
  EXPECT_TRUE(refused(RawFile{.version = 0x03000000u}, "big-endian"));
  EXPECT_TRUE(refused(RawFile{.version = 0x02000000u}, "big-endian"));
  EXPECT_TRUE(refused(text("FUGG\3\0\0\0"), "big-endian"));
}

TEST(GgufIdentify, VersionOneIsRefusedByName) {
  EXPECT_TRUE(refused(RawFile{.version = 1}, "version 1"));
}

TEST(GgufIdentify, OtherVersionsAreRefused) {
  EXPECT_TRUE(refused(RawFile{.version = 0}, "version 0 is unknown"));
  EXPECT_TRUE(refused(RawFile{.version = 4}, "version 4 is unknown"));
}

class GgufOpen : public testing::Test {
 protected:
  std::string message(const std::string& path) {
    const auto file = File::open(path);
    return file ? "opened" : file.error().message;
  }
  const assay::tests::Scratch scratch_;
  const std::filesystem::path& folder_ = scratch_.path;
};

TEST_F(GgufOpen, AMissingPathIsNamed) {
  const std::string path = folder_ / "absent.gguf";
  EXPECT_EQ(message(path), path + ": cannot open the file: No such file or directory");
}

TEST_F(GgufOpen, ADirectoryIsRefused) {
  EXPECT_EQ(message(folder_), folder_.string() + ": this is a directory, not a GGUF file");
}

TEST_F(GgufOpen, AnEmptyFileIsRefused) {
  const std::string path = folder_ / "empty.gguf";
  std::ofstream(path).close();
  EXPECT_EQ(message(path), path + ": the file is empty (0 bytes)");
}

TEST_F(GgufOpen, ANamedPipeIsRefusedWithoutWaiting) {
  const std::string path = folder_ / "pipe.gguf";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(message(path), path + ": this is not a regular file");
}

TEST_F(GgufOpen, DataStayReadableAfterRelease) {
  // 64 KiB of weights, several pages, so that release has whole pages to drop.
  RawFile raw{.tensors = {RawTensor{.dims = {16384}}}, .data_bytes = 65536};
  std::vector<uint8_t> bytes = raw.bytes();
  for (size_t i = 0; i < 65536; ++i)
    bytes[bytes.size() - 65536 + i] = static_cast<uint8_t>(i * 7 + i / 256);
  const std::string path = folder_ / "weights.gguf";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  auto opened = File::open(path);
  ASSERT_TRUE(opened) << opened.error().message;
  const File file = std::move(*opened);  // a moved File keeps its mapping
  file.release(file.bytes());
  file.release(file.tensors()[0].data);
  EXPECT_TRUE(std::ranges::equal(file.bytes(), bytes));
}

TEST(GgufRelease, LeavesMemoryOfOthersAlone) {
  RawFile raw{.tensors = {RawTensor{.dims = {16384}}}, .data_bytes = 65536};
  std::vector<uint8_t> bytes = raw.bytes();
  std::fill(bytes.end() - 65536, bytes.end(), uint8_t{9});
  const auto file = File::parse(bytes, "x.gguf");
  ASSERT_TRUE(file) << file.error().message;
  file->release(file->tensors()[0].data);
  EXPECT_EQ(std::count(bytes.end() - 65536, bytes.end(), 9), 65536);
}

}  // namespace
}  // namespace assay::gguf
