// A GGUF file (version 2 or 3, little-endian), memory-mapped and checked. A file is hostile input:
// every count and length is checked against the bytes left before anything is allocated or read.
// A model may be split over several files, NAME-00001-of-00003.gguf and so on: see split.h.
// Source: the GGUF specification in ggml's docs/gguf.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "gguf/types.h"

namespace assay::gguf {

enum class ValueType : uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12
};

/// "u8", "f32", "string", …
std::string value_type_name(ValueType type);

/// An array value. `strings` for element type string, otherwise `bytes` (packed little-endian, may
/// be unaligned).
struct Array {
  ValueType type = ValueType::u8;
  uint64_t count = 0;
  std::span<const uint8_t> bytes;
  std::vector<std::string_view> strings;

  /// Element i of an integer array (any width), sign-extended.
  int64_t integer(uint64_t i) const;
  /// Element i of a float array (f32 or f64).
  double real(uint64_t i) const;
};

/// Integers keep their sign: unsigned types as uint64_t, signed as int64_t; f32 and f64 as double.
struct Value {
  ValueType type = ValueType::u8;
  std::variant<uint64_t, int64_t, double, bool, std::string_view, Array> data;
};

struct Metadata {
  std::string_view key;
  Value value;
};

struct Tensor {
  std::string_view name;
  uint32_t type = 0;    ///< known to gguf/types.h; may be one that assay can't compute with
  uint32_t n_dims = 0;  ///< 0 (one element) to 4; a dimension of 0 makes the tensor empty
  std::array<uint64_t, 4> dims{1, 1, 1, 1};  ///< dims[0] is the row length (fastest)
  uint32_t part = 0;                         ///< the index of its file in File::parts()
  uint64_t offset = 0;                       ///< from that file's start
  std::span<const uint8_t> data;             ///< inside the file; at least 8-byte aligned in it

  uint64_t elements() const {
    return dims[0] * dims[1] * dims[2] * dims[3];
  }  ///< checked not to wrap at load
};

/// What a file says, once every rule has been checked.
struct Contents {
  uint32_t version = 0;
  uint64_t alignment = 32;
  std::vector<Metadata> metadata;  ///< in file order
  std::vector<Tensor> tensors;     ///< in file order
  // Indices in the order of keys and names. Sorted rather than hashed: look-ups stay logarithmic
  // even where the names were chosen to collide.
  std::vector<uint32_t> key_order;
  std::vector<uint32_t> name_order;
};

class File {
 public:
  /// Maps and checks the file. Errors: not GGUF (shows the first bytes), truncated (expected and
  /// actual bytes), big-endian, version, and each rule of "GGUF is hostile input", one sentence
  /// each. The first shard of a split model opens all of them; errors: another shard than the first
  /// (says which to give), a shard that is missing or belongs to something else.
  static Result<File> open(const std::string& path);
  /// The same checks over bytes in memory, which must outlive the File. For tests and fuzzing.
  /// Errors also: a shard of a split model, whose other shards only `open` can find.
  static Result<File> parse(std::span<const uint8_t> bytes, const std::string& path);

  const std::string& path() const { return path_; }
  uint32_t version() const { return contents_.version; }
  uint64_t size() const;  ///< bytes of all parts
  uint64_t alignment() const { return contents_.alignment; }
  std::span<const uint8_t> bytes() const { return parts_.front(); }  ///< of the first part
  /// The bytes of the file, or of each shard in order. A model's hash is that of these, joined.
  const std::vector<std::span<const uint8_t>>& parts() const { return parts_; }
  const std::vector<Metadata>& metadata() const { return contents_.metadata; }  ///< in file order
  const std::vector<Tensor>& tensors() const { return contents_.tensors; }      ///< in file order

  const Value* find(std::string_view key) const;           ///< nullptr where absent
  const Tensor* find_tensor(std::string_view name) const;  ///< nullptr where absent

  /// Typed look-ups: an empty optional where the key is absent, an error where it has another type.
  /// Any integer type that holds a non-negative value serves as unsigned; f32 or f64 as real.
  Result<std::optional<uint64_t>> unsigned_value(std::string_view key) const;
  Result<std::optional<double>> real_value(std::string_view key) const;
  Result<std::optional<bool>> bool_value(std::string_view key) const;
  Result<std::optional<std::string_view>> string_value(std::string_view key) const;

  /// Tells the system that these bytes of the mapping are not needed for now (they stay readable).
  void release(std::span<const uint8_t> range) const;

 private:
  File() = default;
  static Result<File> open_one(const std::string& path);
  static Result<File> parse_one(std::span<const uint8_t> bytes, const std::string& path);
  /// Takes over the bytes and the tensors of the next shard.
  void append(File&& shard);

  std::string path_;
  std::vector<std::span<const uint8_t>> parts_;
  std::vector<MappedFile> mappings_;  // one a part; none where the bytes belong to someone else
  Contents contents_;
};

}  // namespace assay::gguf
