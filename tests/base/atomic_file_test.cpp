// A file is the old one or the new one, and nothing but a file is ever replaced.
#include "base/atomic_file.h"
#include "support/scratch.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

using assay::write_atomically;

namespace {

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

size_t files_in(const std::filesystem::path& path) {
  return size_t(std::distance(std::filesystem::directory_iterator(path), {}));
}

TEST(AtomicFile, PiecesFollowEachOtherAndReplaceWhatWasThere) {
  const assay::tests::Scratch scratch;
  const auto path = scratch.path / "x";
  ASSERT_TRUE(write_atomically(path, {"a long old text"}));
  ASSERT_TRUE(write_atomically(path, {"new", "", " text"}));
  EXPECT_EQ(read(path), "new text");
  EXPECT_EQ(files_in(path.parent_path()), 1u) << "nothing else is left in the folder";
}

TEST(AtomicFile, AFailedWriteLeavesTheOldFileAndNothingElse) {
  if (::geteuid() == 0) {
    // Root may write anywhere; a folder of the target's name can't be renamed over, though.
    const assay::tests::Scratch scratch;
    const auto path = scratch.path / "x";
    std::filesystem::create_directory(path);
    const auto status = write_atomically(path, {"text"});
    ASSERT_FALSE(status);
    EXPECT_NE(status.error().message.find("not a regular file"), std::string::npos);
    EXPECT_EQ(files_in(path.parent_path()), 1u);
    return;
  }
  const assay::tests::Scratch scratch;
  const auto path = scratch.path / "x";
  ASSERT_TRUE(write_atomically(path, {"old"}));
  std::filesystem::permissions(path.parent_path(), std::filesystem::perms(0500));
  EXPECT_FALSE(write_atomically(path, {"text"}));
  std::filesystem::permissions(path.parent_path(), std::filesystem::perms(0700));
  EXPECT_EQ(read(path), "old");
  EXPECT_EQ(files_in(path.parent_path()), 1u);
}

TEST(AtomicFile, PipesAndMissingFoldersAreRefusedByName) {
  const assay::tests::Scratch scratch;
  const auto& here = scratch.path;
  ASSERT_EQ(::mkfifo((here / "pipe").c_str(), 0600), 0);
  const auto pipe = write_atomically(here / "pipe", {"text"});
  ASSERT_FALSE(pipe);
  EXPECT_NE(pipe.error().message.find((here / "pipe").string()), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_fifo(here / "pipe"));
  const auto missing = write_atomically(here / "no" / "x", {"text"});
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("No such file"), std::string::npos);
}

TEST(AtomicFile, TheModeStaysAndALinkStaysALink) {
  const assay::tests::Scratch scratch;
  const auto& here = scratch.path;
  ASSERT_TRUE(write_atomically(here / "x", {"old"}));
  std::filesystem::permissions(here / "x", std::filesystem::perms(0640));
  std::filesystem::create_symlink(here / "x", here / "link");
  ASSERT_TRUE(write_atomically(here / "link", {"new"}));
  EXPECT_TRUE(std::filesystem::is_symlink(here / "link"));
  EXPECT_EQ(read(here / "x"), "new");
  EXPECT_EQ(std::filesystem::status(here / "x").permissions(), std::filesystem::perms(0640));
}

}  // namespace
