#include "text/byte_level.h"

#include <array>
#include <cstdint>

namespace assay::text {
namespace {

constexpr uint32_t letters_end = 256 + 68;  // the last letter is U+0143
constexpr int16_t no_byte = -1;

using Map = std::array<int16_t, letters_end>;  // the byte of each code point

constexpr Map make_map() {
  Map map{};
  map.fill(no_byte);
  uint16_t next = 256;
  for (uint16_t byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    map[itself ? byte : next++] = static_cast<int16_t>(byte);
  }
  return map;
}

constexpr Map byte_of_letter = make_map();

}  // namespace

std::optional<std::string> bytes_of_letters(std::string_view letters) {
  std::string bytes;
  bytes.reserve(letters.size());
  for (uint64_t i = 0; i < letters.size(); ++i) {
    uint32_t letter = static_cast<uint8_t>(letters[i]);
    if (letter >= 0x80) {
      if (letter < 0xC2 || letter > 0xDF || i + 1 == letters.size()) return std::nullopt;
      const auto second = static_cast<uint8_t>(letters[++i]);
      if ((second & 0xC0) != 0x80) return std::nullopt;
      letter = (letter & 0x1F) << 6 | (second & 0x3F);
    }
    if (letter >= letters_end || byte_of_letter[letter] == no_byte) return std::nullopt;
    bytes += static_cast<char>(byte_of_letter[letter]);
  }
  return bytes;
}

}  // namespace assay::text
