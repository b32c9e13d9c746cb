// Writes the safetensors format: 8 bytes header length, JSON header, tensors one after another.
// Source: the safetensors specification (huggingface/safetensors, README).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace assay::trace {

struct SafeTensor {
  std::string name;
  std::string dtype;  ///< "F32", "I32"
  std::vector<uint64_t> shape;
  std::span<const uint8_t> bytes;  ///< little-endian; must outlive the write
};

/// The file is the old or the new one, whatever happens between. Errors: as write_atomically.
Status write_safetensors(const std::string& path, std::span<const SafeTensor> tensors,
                         const std::map<std::string, std::string>& metadata);

}  // namespace assay::trace
