// Reads and writes NumPy's .npy files: one array. A file is hostile input: every size is checked
// before it is used. Source: the format's specification, numpy.lib.format (versions 1.0 to 3.0).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace assay::trace {

enum class NpyType { f4, f8, f2, i4, i8, u1 };  ///< little-endian; the digit is the size in bytes

struct Npy {
  NpyType type = NpyType::f4;
  std::vector<uint64_t> shape;  ///< slowest first
  std::vector<uint8_t> bytes;   ///< in C order, whatever the file's order was

  uint64_t elements() const;
  std::vector<double> values() const;  ///< integers beyond 2^53 are rounded
};

/// The two outermost of exactly three dimensions above 1, as places in the shape: those that an array
/// of (heads, tokens, channels) has the other way round than (tokens, heads, channels). Empty for
/// others.
std::optional<std::pair<size_t, size_t>> outer_dimensions(const Npy& array);
/// The array with two dimensions exchanged.
Npy exchanged(const Npy& array, size_t one, size_t other);

/// Errors, one sentence each, beginning with `path`: not .npy (shows the first bytes); truncated; a
/// header that is not a dictionary of descr, fortran_order and shape; a big-endian or unsupported
/// type; a shape whose size overflows 64 bits or does not match the bytes.
Result<Npy> parse_npy(std::span<const uint8_t> file, const std::string& path);
/// Errors: cannot be read; as parse_npy.
Result<Npy> read_npy(const std::string& path);

/// Version 1.0, C order. `bytes` is what the shape and the type need. Errors: as write_atomically.
Status write_npy(const std::string& path, NpyType type, const std::vector<uint64_t>& shape,
                 std::span<const uint8_t> bytes);
Status write_npy(const std::string& path, const std::vector<uint64_t>& shape,
                 std::span<const float> values);

/// "(7, 576)", "(5,)": as Python prints it.
std::string shape_text(const std::vector<uint64_t>& shape);

}  // namespace assay::trace
