// Strings of a template are valid UTF-8 and count in code points, as Python's do.
#pragma once

#include <cstdint>
#include <span>
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

// Python's str.isspace, isalpha, … of one character.
bool is_space(char32_t code);
bool is_alpha(char32_t code);
bool is_digit(char32_t code);
bool is_numeric(char32_t code);  ///< digits too
bool is_upper(char32_t code);
bool is_lower(char32_t code);
bool is_title(char32_t code);
bool is_printable(char32_t code);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
void append_upper(std::string& text, char32_t code);
void append_lower(std::string& text, char32_t code);
void append_title(std::string& text, char32_t code);

/// The text without white space at its left or right.
std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);

namespace table {
struct Range {
  char32_t first, last;
};
/// Every `stride`-th code point of first .. last maps to code + delta.
struct Mapping {
  char32_t first, last, stride;
  int32_t delta;
};
struct Expansion {
  char32_t code, to[3];
};
extern const std::span<const Range> alpha, numeric, digit, upper, lower, title, unprintable;
extern const std::span<const Mapping> to_upper, to_lower, to_title;
extern const std::span<const Expansion> upper_expansion, title_expansion;
}  // namespace table

}  // namespace assay::jinja
