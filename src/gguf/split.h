// A model split over several files, as llama.cpp's gguf-split and gguf's Python writer make them:
//   NAME-00001-of-00003.gguf … with split.no (from 0), split.count and split.tensors.count (of all
//   shards) in each, the model's metadata in the first, and each tensor in one of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "gguf/file.h"

namespace assay::gguf {

struct Split {
  uint64_t number = 0;  ///< from 0
  uint64_t count = 0;   ///< of files; at least 2
  uint64_t tensors = 0;
};

/// Empty for a whole file: no split.count, or one of 0 (merged again) or 1.
Result<std::optional<Split>> read_split(const File& file);

/// The paths of all shards, by the path of the first. Errors: `file` is another than the first
/// shard, or is not named as one.
Result<std::vector<std::string>> shard_paths(const File& file, const Split& split);

/// An error that names the shard where there is no file.
Status check_present(const std::string& path, uint64_t number, const Split& split);

/// Whether `shard` is what its place asks for and belongs to the model that `first` begins.
Status check_shard(const File& first, const Split& split, const File& shard, uint64_t number);

/// split.tensors.count against the tensors of all shards.
Status check_tensor_count(const File& whole, const Split& split);

}  // namespace assay::gguf
