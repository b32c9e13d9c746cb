// Python's escapes in string literals.
#include "jinja/lexer.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

int digit_of(char c, int base) {
  int digit = 99;
  if (c >= '0' && c <= '9') digit = c - '0';
  if ((c | 32) >= 'a' && (c | 32) <= 'f') digit = (c | 32) - 'a' + 10;
  return digit < base ? digit : -1;
}

/// Appends the character of exactly `count` hexadecimal digits from `from` on.
void append_hexadecimal(std::string& out, std::string_view text, uint64_t from, int count,
                        Place place) {
  char32_t code = 0;
  for (int i = 0; i < count; ++i) {
    const int digit = from + i < text.size() ? digit_of(text[from + i], 16) : -1;
    if (digit < 0) fail("an escape in a string has too few hexadecimal digits", place);
    code = code << 4 | static_cast<char32_t>(digit);
  }
  if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
    fail("an escape in a string names no character", place);
  }
  append_code_point(out, code);
}

/// One to three octal digits; returns how many.
int append_octal(std::string& out, std::string_view text) {
  char32_t code = 0;
  int count = 0;
  while (count < 3 && static_cast<uint64_t>(count) < text.size() && digit_of(text[count], 8) >= 0) {
    code = code * 8 + static_cast<char32_t>(digit_of(text[count++], 8));
  }
  append_code_point(out, code);
  return count;
}

}  // namespace

std::string decode_escapes(std::string_view text, Place place) {
  static constexpr std::string_view letters = "\\'\"abfnrtv", values = "\\'\"\a\b\f\n\r\t\v";
  std::string out;
  for (uint64_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    if (const uint64_t known = letters.find(c); known != std::string_view::npos) {
      out += values[known];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const int count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      append_hexadecimal(out, text, i + 1, count, place);
      i += count;
    } else if (digit_of(c, 8) >= 0) {
      i += append_octal(out, text.substr(i)) - 1;
    } else if (c == 'N') {
      fail("characters by name (\\N{…}) are not supported", place);
    } else if (c != '\n') {  // a backslash before a newline joins the lines
      out += '\\';
      out += c;
    }
  }
  return out;
}

}  // namespace assay::jinja
