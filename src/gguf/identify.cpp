// The first eight bytes: "GGUF", version u32. And what a file that begins otherwise seems to be.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "gguf/parse.h"

namespace assay::gguf {
namespace {

/// The beginning in lower case, without white space and byte order mark in front.
std::string opening(std::span<const uint8_t> bytes) {
  std::string text(bytes.begin(),
                   bytes.begin() + static_cast<ptrdiff_t>(std::min<size_t>(bytes.size(), 256)));
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);
  text.erase(0, text.find_first_not_of(" \t\r\n"));
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

std::string_view guess(std::span<const uint8_t> bytes) {
  const std::string text = opening(bytes);
  if (text.starts_with("<!doctype") || text.starts_with("<html") || text.starts_with("<head")) {
    return "; this looks like an HTML page";
  }
  if (text.starts_with("version https://git-lfs"))
    return "; this is a Git LFS pointer, not the file itself";
  if (text.starts_with("fugg"))
    return "; this looks like a big-endian GGUF file, which assay doesn't read";
  for (const char* magic : {"lmgg", "fmgg", "tjgg", "algg"}) {
    if (text.starts_with(magic)) return "; this is a file from before GGUF; convert the model anew";
  }
  if (text.starts_with("pk\x03\x04"))
    return "; this looks like a zip archive or a PyTorch checkpoint";
  // safetensors: u64 length of the header, then the header, a JSON object.
  if (bytes.size() > 9 && bytes[8] == '{') return "; this looks like a safetensors file";
  if (text.starts_with("{")) return "; this looks like a JSON text";
  return "";
}

std::string first_bytes(std::span<const uint8_t> bytes) {
  std::string hex;
  for (const uint8_t byte : bytes) hex += fmt::format("{:02x} ", byte);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return hex + in_quotes(text);
}

}  // namespace

Result<uint32_t> parse_version(Reader& reader) {
  if (reader.bytes.empty()) return reader.error("the file is empty (0 bytes)");
  const auto begin = reader.bytes.first(std::min<size_t>(reader.bytes.size(), 16));
  const std::string_view magic(reinterpret_cast<const char*>(begin.data()),
                               std::min<size_t>(begin.size(), 4));
  if (magic != "GGUF") {
    if (std::string_view("GGUF").starts_with(magic)) {
      return reader.error(
          fmt::format("truncated: a GGUF header has 24 bytes, the file has {}", magic.size()));
    }
    return reader.error(fmt::format("not a GGUF file: it begins with {}{}", first_bytes(begin),
                                    guess(reader.bytes)));
  }
  reader.position = 4;
  const auto version = reader.number<uint32_t>("the version");
  if (!version) return version.error();
  if (*version == 2 || *version == 3) return *version;
  // A big-endian file has the same magic; its small version number sits in the last of the four
  // bytes.
  if ((*version & 0xffffu) == 0 && *version != 0) {
    return reader.error("this is a big-endian GGUF file; assay reads little-endian ones");
  }
  if (*version == 1) {
    return reader.error(
        "this is a GGUF file of version 1 (32-bit counts); assay reads 2 and 3, convert it anew");
  }
  return reader.error(fmt::format("GGUF version {} is unknown; assay reads 2 and 3", *version));
}

}  // namespace assay::gguf
