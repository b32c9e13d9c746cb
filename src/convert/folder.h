// The files of a Hugging Face folder. A folder is hostile input: nothing outside it is read because
// it says so, and every size is checked.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "trace/safetensors_file.h"

namespace assay::convert {

class Folder {
 public:
  /// Errors: no such folder.
  static Result<Folder> open(const std::string& path);

  const std::string& path() const { return path_; }
  /// PATH/NAME
  std::string path_of(std::string_view name) const;

  /// True where this path is a file of the folder itself, other than a GGUF file.
  bool holds(const std::string& path) const;

  /// A file's text; nothing where there is no such file. Errors: not a regular file, too large.
  Result<std::optional<std::string>> text(std::string_view name) const;
  /// The same, parsed. Errors also: not a JSON object.
  Result<std::optional<nlohmann::json>> json(std::string_view name) const;

  /// Maps model.safetensors, or the parts that model.safetensors.index.json lists. Errors: neither
  /// is there; a part is missing, outside the folder or damaged; index and parts disagree.
  Status open_tensors();
  /// By name. A matrix in MXFP4 is two tensors of bytes there, NAME_blocks (…, rows, groups, 16) and
  /// NAME_scales (…, rows, groups): here it is one, NAME (…, rows, columns) of the type "MXFP4" with
  /// the bytes of its blocks.
  const std::map<std::string, trace::StoredTensor>& tensors() const { return tensors_; }
  /// Of such a matrix; empty for others.
  std::span<const uint8_t> scales_of(const std::string& name) const;
  /// Tells the system that a tensor's bytes are not needed for now.
  void release(const trace::StoredTensor& tensor) const;

 private:
  /// The names of its tensors.
  Result<std::vector<std::string>> open_part(const std::string& name);
  Status open_index(const nlohmann::json& index);
  Status open_files();
  Status join_packed();

  std::string path_;
  std::vector<MappedFile> parts_;
  std::map<std::string, trace::StoredTensor> tensors_;
  std::map<std::string, trace::StoredTensor> scales_;
};

}  // namespace assay::convert
