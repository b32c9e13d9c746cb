#include "jinja/unicode.h"

#include <algorithm>

namespace assay::jinja {

namespace {

/// Bytes of the character at the start of `text`; 0 where there is none.
/// Source: the Unicode Standard, table 3-7.
uint64_t character_length(std::string_view text) {
  const auto byte = [&](uint64_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const uint64_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (text.size() < length) return 0;
  uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (uint64_t i = 1; i < length; ++i, low = 0x80, high = 0xBF) {
    if (byte(i) < low || byte(i) > high) return 0;
  }
  return length;
}

bool in_table(std::span<const table::Range> ranges, char32_t code) {
  const auto after = std::upper_bound(
      ranges.begin(), ranges.end(), code,
      [](char32_t value, const table::Range& range) { return value < range.first; });
  return after != ranges.begin() && code <= std::prev(after)->last;
}

char32_t mapped(std::span<const table::Mapping> mappings, char32_t code) {
  const auto after = std::upper_bound(
      mappings.begin(), mappings.end(), code,
      [](char32_t value, const table::Mapping& mapping) { return value < mapping.first; });
  if (after == mappings.begin()) return code;
  const table::Mapping& run = *std::prev(after);
  if (code > run.last || (code - run.first) % run.stride != 0) return code;
  return static_cast<char32_t>(static_cast<int64_t>(code) + run.delta);
}

void append_expanded(std::string& text, std::span<const table::Expansion> expansions,
                     std::span<const table::Mapping> mappings, char32_t code) {
  const auto found = std::lower_bound(
      expansions.begin(), expansions.end(), code,
      [](const table::Expansion& expansion, char32_t value) { return expansion.code < value; });
  if (found == expansions.end() || found->code != code) {
    append_code_point(text, mapped(mappings, code));
    return;
  }
  for (const char32_t to : found->to) {
    if (to != 0) append_code_point(text, to);
  }
}

}  // namespace

char32_t next_code_point(std::string_view text, uint64_t& position) {
  const auto byte = [&](uint64_t i) { return static_cast<uint8_t>(text[position + i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return ++position, lead;
  const uint64_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  char32_t code = lead & (0x7Fu >> length);
  for (uint64_t i = 1; i < length && position + i < text.size(); ++i) {
    code = code << 6 | (byte(i) & 0x3F);
  }
  position = std::min<uint64_t>(position + length, text.size());
  return code;
}

void append_code_point(std::string& text, char32_t code) {
  const auto add = [&](char32_t value) { text += static_cast<char>(value); };
  if (code < 0x80) return add(code);
  if (code < 0x800) {
    add(0xC0 | code >> 6);
  } else if (code < 0x10000) {
    add(0xE0 | code >> 12);
    add(0x80 | (code >> 6 & 0x3F));
  } else {
    add(0xF0 | code >> 18);
    add(0x80 | (code >> 12 & 0x3F));
    add(0x80 | (code >> 6 & 0x3F));
  }
  add(0x80 | (code & 0x3F));
}

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const uint64_t length = character_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string repaired_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const uint64_t length = character_length(text);
    result += length == 0 ? "\xEF\xBF\xBD" : text.substr(0, length);
    text.remove_prefix(std::max<uint64_t>(length, 1));
  }
  return result;
}

uint64_t count_code_points(std::string_view text) {
  uint64_t count = 0;
  for (const char byte : text) count += (static_cast<uint8_t>(byte) & 0xC0) != 0x80;
  return count;
}

uint64_t byte_offset(std::string_view text, uint64_t index) {
  uint64_t position = 0;
  for (; position < text.size(); ++position) {
    if ((static_cast<uint8_t>(text[position]) & 0xC0) == 0x80) continue;
    if (index-- == 0) return position;
  }
  return position;
}

bool is_space(char32_t code) {
  return (code >= 9 && code <= 13) || (code >= 28 && code <= 32) || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
         code == 0x202F || code == 0x205F || code == 0x3000;
}
bool is_alpha(char32_t code) {
  return in_table(table::alpha, code);
}
bool is_digit(char32_t code) {
  return in_table(table::digit, code);
}
bool is_numeric(char32_t code) {
  return is_digit(code) || in_table(table::numeric, code);
}
bool is_upper(char32_t code) {
  return in_table(table::upper, code);
}
bool is_lower(char32_t code) {
  return in_table(table::lower, code);
}
bool is_title(char32_t code) {
  return in_table(table::title, code);
}
bool is_printable(char32_t code) {
  return !in_table(table::unprintable, code);
}

void append_upper(std::string& text, char32_t code) {
  append_expanded(text, table::upper_expansion, table::to_upper, code);
}
void append_title(std::string& text, char32_t code) {
  append_expanded(text, table::title_expansion, table::to_title, code);
}
void append_lower(std::string& text, char32_t code) {
  // The one character whose lower case is two: capital I with a dot.
  if (code == 0x130) {
    text += "i\xCC\x87";
    return;
  }
  append_code_point(text, mapped(table::to_lower, code));
}

std::string to_upper(std::string_view text) {
  std::string result;
  for (uint64_t i = 0; i < text.size();) append_upper(result, next_code_point(text, i));
  return result;
}
std::string to_lower(std::string_view text) {
  std::string result;
  for (uint64_t i = 0; i < text.size();) append_lower(result, next_code_point(text, i));
  return result;
}

std::string_view strip_left(std::string_view text) {
  for (uint64_t i = 0; i < text.size();) {
    const uint64_t start = i;
    if (!is_space(next_code_point(text, i))) return text.substr(start);
  }
  return {};
}
std::string_view strip_right(std::string_view text) {
  while (!text.empty()) {
    uint64_t start = text.size() - 1;
    while (start > 0 && (static_cast<uint8_t>(text[start]) & 0xC0) == 0x80) --start;
    uint64_t position = start;
    if (!is_space(next_code_point(text, position))) break;
    text = text.substr(0, start);
  }
  return text;
}

}  // namespace assay::jinja
