#include "jinja/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

namespace assay::jinja {

namespace {

/// Bytes of the character at the start of `text`; 0 where there is none.
uint64_t character_length(std::string_view text, utf8proc_int32_t& code) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto length = utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size()), &code);
  return length < 0 ? 0 : static_cast<uint64_t>(length);
}

utf8proc_int32_t as_signed(char32_t code) {
  return static_cast<utf8proc_int32_t>(code);
}

/// Case folding, which unlike utf8proc's mappings of case has the expansions: "ß" → "ss".
struct Folded {
  utf8proc_int32_t codes[4];
  utf8proc_ssize_t count;
};
Folded folded(char32_t code) {
  Folded made{};
  int boundary = 0;  // of graphemes, which nobody asks for
  made.count =
      utf8proc_decompose_char(as_signed(code), made.codes, 4, UTF8PROC_CASEFOLD, &boundary);
  return made;
}

struct Range {
  char32_t first, last;
};
// Characters with Unicode's properties Other_Lowercase or Other_Uppercase that have no other case.
constexpr Range other_cased[] = {
    {0xAA, 0xAA},       {0xBA, 0xBA},       {0x2B0, 0x2B8},     {0x2C0, 0x2C1},
    {0x2E0, 0x2E4},     {0x37A, 0x37A},     {0x1D2C, 0x1D6A},   {0x1D78, 0x1D78},
    {0x1D9B, 0x1DBF},   {0x2071, 0x2071},   {0x207F, 0x207F},   {0x2090, 0x209C},
    {0x2C7C, 0x2C7D},   {0xA69C, 0xA69D},   {0xA770, 0xA770},   {0xA7F8, 0xA7F9},
    {0xAB5C, 0xAB5F},   {0x10780, 0x10780}, {0x10783, 0x10785}, {0x10787, 0x107B0},
    {0x107B2, 0x107BA}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};

}  // namespace

char32_t next_code_point(std::string_view text, uint64_t& position) {
  utf8proc_int32_t code = 0;
  const uint64_t length = character_length(text.substr(position), code);
  position += std::max<uint64_t>(length, 1);
  return length == 0 ? 0xFFFD : static_cast<char32_t>(code);
}

void append_code_point(std::string& text, char32_t code) {
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(as_signed(code), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<uint64_t>(length));
}

bool is_valid_utf8(std::string_view text) {
  utf8proc_int32_t code = 0;
  while (!text.empty()) {
    const uint64_t length = character_length(text, code);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string repaired_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  utf8proc_int32_t code = 0;
  while (!text.empty()) {
    const uint64_t length = character_length(text, code);
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
bool is_printable(char32_t code) {
  switch (utf8proc_category(as_signed(code))) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return code == ' ';
    default:
      return true;
  }
}
bool is_letter_or_number(char32_t code) {
  const utf8proc_category_t category = utf8proc_category(as_signed(code));
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
         (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}
bool is_cased(char32_t code) {
  const utf8proc_category_t category = utf8proc_category(as_signed(code));
  if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LT) return true;
  if (utf8proc_toupper(as_signed(code)) != utf8proc_tolower(as_signed(code))) return true;
  return std::any_of(std::begin(other_cased), std::end(other_cased),
                     [&](const Range& range) { return code >= range.first && code <= range.last; });
}

void append_upper(std::string& text, char32_t code) {
  // Upper case as it is: "ẞ" and "İ" fold to several characters, too.
  if (utf8proc_category(as_signed(code)) == UTF8PROC_CATEGORY_LU) {
    return append_code_point(text, code);
  }
  const Folded lower = folded(code);
  if (lower.count < 2) {
    return append_code_point(text, static_cast<char32_t>(utf8proc_toupper(as_signed(code))));
  }
  for (utf8proc_ssize_t i = 0; i < lower.count; ++i) {
    append_code_point(text, static_cast<char32_t>(utf8proc_toupper(lower.codes[i])));
  }
}
void append_title(std::string& text, char32_t code) {
  constexpr utf8proc_int32_t sharp_s = 0xDF, iota = 0x3B9, iota_below = 0x345;
  const utf8proc_category_t category = utf8proc_category(as_signed(code));
  const utf8proc_int32_t title = utf8proc_totitle(as_signed(code));
  const Folded lower = folded(code);
  const bool expands = lower.count > 1 && category == UTF8PROC_CATEGORY_LL &&
                       (title == as_signed(code) || code == sharp_s);
  if (!expands) return append_code_point(text, static_cast<char32_t>(title));
  // The first letter in title case, the rest as it is, with iotas below.
  bool first = true;
  for (utf8proc_ssize_t i = 0; i < lower.count; ++i) {
    const utf8proc_int32_t each = lower.codes[i];
    append_code_point(text, static_cast<char32_t>(first          ? utf8proc_totitle(each)
                                                  : each == iota ? iota_below
                                                                 : each));
    first = first && utf8proc_category(each) == UTF8PROC_CATEGORY_LM;  // "ŉ" → "ʼN"
  }
}
void append_lower(std::string& text, char32_t code) {
  append_code_point(text, static_cast<char32_t>(utf8proc_tolower(as_signed(code))));
  if (code == 0x130) text += "\xCC\x87";  // capital I with a dot keeps it
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
