// Strings of a template are valid UTF-8 and count in code points, as Python's do.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace assay::jinja {

/// The code point that begins at `position` of valid UTF-8; moves `position` behind it.
char32_t next_code_point(std::string_view text, uint64_t& position);
void append_code_point(std::string& text, char32_t code);

bool is_valid_utf8(std::string_view text);
/// The text with every byte that isn't part of a character replaced by U+FFFD.
std::string repaired_utf8(std::string_view text);

uint64_t count_code_points(std::string_view text);
/// The byte where code point `index` begins; text.size() where there are fewer.
uint64_t byte_offset(std::string_view text, uint64_t index);

bool is_space(char32_t code);      ///< as Python's str.isspace
bool is_printable(char32_t code);  ///< as Python's str.isprintable
bool is_cased(char32_t code);      ///< an upper, lower or title case letter or sign
bool is_letter_or_number(char32_t code);

// Case as Python's, which may make several characters of one ("ß" → "SS"); but a final sigma is a
// sigma as any other.
std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
void append_upper(std::string& text, char32_t code);
void append_lower(std::string& text, char32_t code);
void append_title(std::string& text, char32_t code);

/// The text without white space at its left or right.
std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);

}  // namespace assay::jinja
