// Where UTF-8 characters begin and end in bytes that may not be UTF-8.
// Source: the Unicode Standard, table 3-7 (well-formed byte sequences); surrogates, overlong forms
// and code points above U+10FFFF are not characters.
#pragma once

#include <cstdint>
#include <string_view>

namespace assay::text {

enum class Sequence {
  whole,       ///< a character
  unfinished,  ///< the text ends inside what may still become one
  broken       ///< bytes that can't be part of one, whatever follows
};

struct Character {
  Sequence sequence;
  uint64_t length;  ///< broken: the longest run that could have begun a character, at least 1
};

/// What `text` (not empty) begins with.
inline Character first_character(std::string_view text) {
  const auto byte = [&](uint64_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {Sequence::whole, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Sequence::broken, 1};
  const uint64_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // Only the second byte's range depends on the lead: it keeps out overlong forms, surrogates and >
  // U+10FFFF.
  uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (uint64_t i = 1; i < length; ++i, low = 0x80, high = 0xBF) {
    if (i == text.size()) return {Sequence::unfinished, i};
    if (byte(i) < low || byte(i) > high) return {Sequence::broken, i};
  }
  return {Sequence::whole, length};
}

}  // namespace assay::text
