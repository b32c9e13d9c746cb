#include "base/read_file.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

namespace assay {

Result<std::vector<uint8_t>> read_file(const std::string& path, std::string_view what) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(path, failed))
    return Error{fmt::format("cannot read the {} '{}': {}", what, path,
                             std::filesystem::is_directory(path, failed) ? "it is a folder"
                             : std::filesystem::exists(path, failed) ? "it is not a regular file"
                                                                     : "no such file")};
  std::ifstream file(path, std::ios::binary);
  std::vector<uint8_t> bytes(std::filesystem::file_size(path, failed));
  if (!file || failed ||
      !file.read(reinterpret_cast<char*>(bytes.data()), std::streamsize(bytes.size())))
    return Error{fmt::format("cannot read the {} '{}'", what, path)};
  return bytes;
}

}  // namespace assay
