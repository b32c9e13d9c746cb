#include "temporary.h"

#include <fmt/format.h>
#include <unistd.h>  // mkdtemp, on macOS

#include <cerrno>
#include <cstdlib>
#include <cstring>

assay::Result<TemporaryFolder> TemporaryFolder::make() {
  std::error_code failed;
  std::string pattern = (std::filesystem::temp_directory_path(failed) / "assay-XXXXXX").string();
  if (failed || !mkdtemp(pattern.data()))
    return assay::Error{fmt::format("cannot make a temporary folder: {}",
                                    failed ? failed.message() : std::strerror(errno))};
  return TemporaryFolder(pattern);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}
