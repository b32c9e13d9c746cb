// A folder for files that live as long as a command.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"

class TemporaryFolder {
 public:
  /// In TMPDIR. Errors: a folder that can't be made.
  static assay::Result<TemporaryFolder> make();
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder();

  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  explicit TemporaryFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};
