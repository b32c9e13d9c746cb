// bytes → Contents, with every rule checked. The parts that File::parse is made of.
#pragma once

#include "gguf/file.h"
#include "gguf/reader.h"

namespace assay::gguf {

inline constexpr uint64_t longest_string = uint64_t{16} << 20;
inline constexpr uint64_t longest_key = 65535;  // GGUF specification
inline constexpr uint64_t longest_tensor_name =
    255;  // the specification says 64; some forks write more
// Far above what any model has. A few bytes of a file become an entry of up to 100 in memory; these
// limits keep what a hostile file can make us allocate to some megabytes.
inline constexpr uint64_t most_metadata = uint64_t{1} << 17;
inline constexpr uint64_t most_tensors = uint64_t{1} << 17;
inline constexpr uint64_t most_strings = uint64_t{1} << 21;  // of one array

/// The whole file.
Result<Contents> parse_contents(std::span<const uint8_t> bytes, const std::string& path);

/// The magic and the version; explains what a file that isn't GGUF seems to be.
Result<uint32_t> parse_version(Reader& reader);

/// The value after a key.
Result<Value> parse_value(Reader& reader, std::string_view key);

/// One entry of the tensor table; `offset` is still relative to the data section and `data` empty.
Result<Tensor> parse_tensor(Reader& reader, uint64_t alignment);

/// Turns relative offsets into absolute ones, checks range and overlap, and sets `data`.
Status place_tensors(const Reader& after_table, Contents& contents);

/// Sorts `name_order`; the first tensor whose name occurs twice, nullptr where none does.
const Tensor* index_tensors(Contents& contents);

/// The value of a key by the index in `contents`; nullptr where absent.
const Value* find_value(const Contents& contents, std::string_view key);

/// Bytes of a number or boolean of this type; 0 for strings and arrays.
uint64_t value_bytes(ValueType type);

}  // namespace assay::gguf
