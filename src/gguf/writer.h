// Writes a GGUF v3 file: metadata in the order added, tensors aligned, one tensor in memory at a
// time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace assay::gguf {

class Writer {
 public:
  /// `alignment` is a power of two, at least 8; another than 32 is stored as general.alignment.
  explicit Writer(uint32_t alignment = 32);

  void add_u32(std::string_view key, uint32_t value);
  void add_i32(std::string_view key, int32_t value);
  void add_u64(std::string_view key, uint64_t value);
  void add_f32(std::string_view key, float value);
  void add_bool(std::string_view key, bool value);
  void add_string(std::string_view key, std::string_view value);
  void add_string_array(std::string_view key, std::span<const std::string> values);
  void add_f32_array(std::string_view key, std::span<const float> values);
  void add_i32_array(std::string_view key, std::span<const int32_t> values);
  void add_bool_array(std::string_view key, const std::vector<bool>& values);

  /// dims[0] is the row length, a multiple of the block of `type` (gguf/types.h).
  /// `produce` is called at write time and must return exactly the tensor's bytes.
  void add_tensor(std::string_view name, uint32_t type, std::vector<uint64_t> dims,
                  std::function<std::vector<uint8_t>()> produce);

  /// The whole file as bytes (small files, tests); none where write() would give an error.
  std::vector<uint8_t> bytes() const;
  /// Writes PATH.part, asks `check` of it, then renames it to PATH; on an error PATH.part is removed.
  /// Errors also: a tensor whose shape its type can't have, or whose producer returns another number
  /// of bytes; those of `check`, as they are.
  Status write(const std::string& path,
               const std::function<Status(const std::string& part)>& check = {}) const;

 private:
  struct Entry {
    std::string name;
    uint32_t type;
    std::vector<uint64_t> dims;
    std::function<std::vector<uint8_t>()> produce;
  };
  using Sink =
      std::function<bool(std::span<const uint8_t>)>;  // false where the bytes couldn't be stored

  void add_key(std::string_view key, uint32_t value_type);
  template <class T>
  void add_number(std::string_view key, uint32_t value_type, T value);
  void add_array(std::string_view key, uint32_t element_type, uint64_t count);
  /// Header, metadata, tensor table.
  Result<std::vector<uint8_t>> head() const;
  /// Everything; an empty Error message where the sink failed.
  Status emit(const Sink& sink) const;

  uint64_t alignment_;
  uint64_t metadata_count_ = 0;
  std::vector<uint8_t> metadata_;
  std::vector<Entry> tensors_;
};

}  // namespace assay::gguf
