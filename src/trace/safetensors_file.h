// Reads the safetensors format. A file is hostile input: every size is checked before it is used.
// Source: the safetensors specification (huggingface/safetensors, README).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace assay::trace {

/// A tensor inside a file.
struct StoredTensor {
  std::string name;
  std::string dtype;               ///< "F32", "F16", "BF16", "I32", …
  std::vector<uint64_t> shape;     ///< slowest first
  uint64_t elements = 0;           ///< their product; 1 for a scalar
  std::span<const uint8_t> bytes;  ///< little-endian, inside the file, at any alignment
};

/// What the header says, checked. The bytes must outlive it.
struct SafeTensors {
  std::map<std::string, std::string> metadata;
  std::vector<StoredTensor> tensors;  ///< in the order of their bytes

  /// nullptr where absent.
  const StoredTensor* find(std::string_view name) const;

 private:
  friend Result<SafeTensors> parse_safetensors(std::span<const uint8_t>, const std::string&);
  std::map<std::string, size_t, std::less<>> by_name_;
};

/// Errors, one sentence each, beginning with `path`: truncated; a header that is not JSON of the
/// format's shape; an unknown type; a duplicate name; a shape whose size wraps or differs from the
/// bytes; tensors that overlap, leave a hole, or end before or after the file does.
Result<SafeTensors> parse_safetensors(std::span<const uint8_t> bytes, const std::string& path);

/// Bytes of one element; 0 for a type that the format doesn't have.
uint64_t element_bytes(std::string_view dtype);

/// The values as f32: F32, F16, BF16 exact, F64 and integers rounded once. Errors: another type.
Result<std::vector<float>> to_f32(const StoredTensor& tensor);

}  // namespace assay::trace
