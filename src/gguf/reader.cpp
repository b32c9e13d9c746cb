#include "gguf/reader.h"

#include <fmt/format.h>

namespace assay::gguf {

std::string printable(std::string_view text) {
  constexpr size_t longest = 64;
  std::string out;
  for (const char c : text.substr(0, longest)) {
    if (c >= 0x20 && c < 0x7f) {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out + (text.size() > longest ? "…" : "");
}

std::string in_quotes(std::string_view text) {
  return "\"" + printable(text) + "\"";
}

Error Reader::error(std::string_view detail) const {
  return Error{fmt::format("{}: {}", path, detail)};
}

Status Reader::need(uint64_t count, uint64_t size, std::string_view what) const {
  const auto total = checked_multiply(count, size);
  if (total && *total <= left()) return ok();
  const auto end = total ? checked_add(position, *total) : std::nullopt;
  return error(
      fmt::format("truncated or damaged: with {} at byte {} the file would have at least {} bytes, "
                  "but it has {}",
                  what, position, end ? std::to_string(*end) : "2^64", bytes.size()));
}

Result<std::span<const uint8_t>> Reader::take(uint64_t count, uint64_t size,
                                              std::string_view what) {
  if (Status enough = need(count, size, what); !enough) return enough.error();
  const auto taken = bytes.subspan(position, count * size);
  position += taken.size();
  return taken;
}

Result<std::string_view> Reader::string(uint64_t longest, std::string_view what) {
  const auto length = number<uint64_t>(what);
  if (!length) return length.error();
  if (*length > longest) {
    return error(fmt::format("{} at byte {} claims {} bytes; the limit is {}", what,
                             position - sizeof(uint64_t), *length, longest));
  }
  const auto text = take(*length, 1, what);
  if (!text) return text.error();
  return std::string_view(reinterpret_cast<const char*>(text->data()), text->size());
}

}  // namespace assay::gguf
