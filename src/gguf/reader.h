// Little-endian values out of bytes that can't be trusted: nothing is read before it is known to be
// there.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace assay::gguf {

static_assert(std::endian::native == std::endian::little, "GGUF is read in place");

/// a·b and a+b, empty where the result doesn't fit 64 bits.
inline std::optional<uint64_t> checked_multiply(uint64_t a, uint64_t b) {
  if (b != 0 && a > UINT64_MAX / b) return std::nullopt;
  return a * b;
}
inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  if (a > UINT64_MAX - b) return std::nullopt;
  return a + b;
}

/// A file's text for a message: bytes that aren't printable ASCII as \xNN, cut after 64 bytes.
std::string printable(std::string_view text);
/// The same in quotes.
std::string in_quotes(std::string_view text);

struct Reader {
  std::span<const uint8_t> bytes;
  const std::string& path;
  uint64_t position = 0;

  uint64_t left() const { return bytes.size() - position; }

  /// "PATH: DETAIL"
  Error error(std::string_view detail) const;

  /// Fails where `count` pieces of at least `size` bytes can't be in what is left; asked before
  /// anything is allocated.
  Status need(uint64_t count, uint64_t size, std::string_view what) const;

  template <class T>
  Result<T> number(std::string_view what) {
    if (Status enough = need(1, sizeof(T), what); !enough) return enough.error();
    T value;
    std::memcpy(&value, bytes.data() + position, sizeof(T));
    position += sizeof(T);
    return value;
  }

  /// `count` pieces of exactly `size` bytes.
  Result<std::span<const uint8_t>> take(uint64_t count, uint64_t size, std::string_view what);

  /// u64 length, then that many bytes; at most `longest`.
  Result<std::string_view> string(uint64_t longest, std::string_view what);
};

}  // namespace assay::gguf
