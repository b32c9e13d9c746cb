#include "jinja/lexer.h"

#include <algorithm>
#include <charconv>

#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

bool is_digit_character(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_byte(char c) {
  return is_digit_character(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<uint8_t>(c) >= 0x80;
}

/// \r\n and \r become \n; one newline at the end goes.
std::string normalized(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (uint64_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text += source[i];
      continue;
    }
    text += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

struct Lexer {
  std::string source;
  uint64_t position = 0;
  Place place = {1, 1};
  bool line_starting = true;  // the last tag, with what it swallowed, ended in a newline
  std::vector<Token> tokens;

  bool at(std::string_view wanted) const {
    return source.compare(position, wanted.size(), wanted) == 0;
  }
  bool done() const { return position >= source.size(); }

  void advance(uint64_t count) {
    const uint64_t to = std::min<uint64_t>(position + count, source.size());
    for (const char c : std::string_view(source).substr(position, to - position)) {
      if (c == '\n') {
        place = {place.line + 1, 1};
      } else {
        place.column += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
      }
    }
    position = to;
  }
  void skip_space() {
    const std::string_view rest = std::string_view(source).substr(position);
    advance(rest.size() - strip_left(rest).size());
  }
  void add(TokenKind kind, std::string text = {}) {
    tokens.push_back({kind, std::move(text), place, 0, 0});
  }

  /// Where the sign of a tag stands: 0 where there is none.
  char sign_at(uint64_t at_byte) const {
    const char c = at_byte < source.size() ? source[at_byte] : 0;
    return c == '-' || c == '+' ? c : 0;
  }

  /// If "NAME -%}" or "NAME %}" stands at `at_byte` (after the tag's sign), the byte behind the
  /// name; 0 otherwise.
  uint64_t after_name(uint64_t at_byte, std::string_view name) const {
    const std::string_view rest = strip_left(std::string_view(source).substr(at_byte));
    if (rest.substr(0, name.size()) != name) return 0;
    return source.size() - strip_left(rest.substr(name.size())).size();
  }

  void run();
  void text_until(uint64_t tag, bool is_block, char sign);
  void end_tag(char sign, bool trims);
  void comment();
  bool raw();
  void expression(bool block);
  bool tag_ends(bool block);
  void token();
  void number();
  void quoted();
  void name();
  void symbol();

  std::vector<std::pair<char, Place>> brackets;
};

void Lexer::run() {
  while (!done()) {
    uint64_t tag = position;
    while (true) {
      tag = source.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source.size()) break;
      const char second = source[tag + 1];
      if (second == '%' || second == '{' || second == '#') break;
      ++tag;
    }
    if (tag == std::string::npos || tag + 1 >= source.size()) {
      add(TokenKind::text, source.substr(position));
      advance(source.size());
      break;
    }
    const char kind = source[tag + 1], sign = sign_at(tag + 2);
    text_until(tag, kind != '{', sign);
    advance(2 + (sign != 0));
    if (kind == '#') {
      comment();
    } else if (kind == '{' || !raw()) {
      expression(kind == '%');
    }
  }
  add(TokenKind::end);
}

/// The text before a tag, stripped as the tag's sign and lstrip_blocks say.
void Lexer::text_until(uint64_t tag, bool is_block, char sign) {
  std::string_view text = std::string_view(source).substr(position, tag - position);
  if (sign == '-') {
    text = strip_right(text);
  } else if (sign != '+' && is_block) {
    const uint64_t newline = text.rfind('\n');
    const uint64_t start = newline == std::string_view::npos ? 0 : newline + 1;
    if ((start > 0 || line_starting) && strip_left(text.substr(start)).empty()) {
      text = text.substr(0, start);
    }
  }
  if (!text.empty()) add(TokenKind::text, std::string(text));
  advance(tag - position);
}

/// Behind a closing delimiter: `-` swallows white space, else trim_blocks one newline.
void Lexer::end_tag(char sign, bool trims) {
  const uint64_t start = position;
  if (sign == '-') {
    skip_space();
  } else if (trims && sign != '+' && at("\n")) {
    advance(1);
  }
  line_starting = position > start && source[position - 1] == '\n';
}

void Lexer::comment() {
  const uint64_t end = source.find("#}", position);
  if (end == std::string::npos) fail("the comment is not closed by '#}'", place);
  const char sign = end > position ? sign_at(end - 1) : 0;
  advance(end + 2 - position);
  end_tag(sign, true);
}

/// {% raw %} … {% endraw %} behind "{%"; false where the tag is another.
bool Lexer::raw() {
  uint64_t behind = after_name(position, "raw");
  if (behind == 0) return false;
  char sign = source.compare(behind, 1, "-") == 0 ? '-' : 0;
  if (source.compare(behind + (sign != 0), 2, "%}") != 0) return false;
  const Place first_place = place;
  advance(behind + (sign != 0) + 2 - position);
  end_tag(sign, false);
  for (uint64_t tag = source.find("{%", position); tag != std::string::npos;
       tag = source.find("{%", tag + 1)) {
    const char begin_sign = sign_at(tag + 2);
    behind = after_name(tag + 2 + (begin_sign != 0), "endraw");
    if (behind == 0) continue;
    sign = sign_at(behind);
    if (source.compare(behind + (sign != 0), 2, "%}") != 0) continue;
    text_until(tag, true, begin_sign);
    advance(behind + (sign != 0) + 2 - position);
    end_tag(sign, true);
    return true;
  }
  fail("the raw block is not closed by '{% endraw %}'", first_place);
}

void Lexer::expression(bool block) {
  add(block ? TokenKind::block_begin : TokenKind::variable_begin);
  const Place first_place = place;
  brackets.clear();
  while (true) {
    skip_space();
    if (done()) {
      fail(std::string("the tag is not closed by '") + (block ? "%}" : "}}") + "'", first_place);
    }
    if (brackets.empty() && tag_ends(block)) return;
    token();
  }
}

bool Lexer::tag_ends(bool block) {
  const char sign = sign_at(position);
  if (sign == '+' && !block) return false;
  if (source.compare(position + (sign != 0), 2, block ? "%}" : "}}") != 0) return false;
  add(block ? TokenKind::block_end : TokenKind::variable_end);
  advance(2 + (sign != 0));
  end_tag(sign, block);
  return true;
}

void Lexer::token() {
  const char c = source[position];
  if (is_digit_character(c)) return number();
  if (c == '\'' || c == '"') return quoted();
  if (is_name_byte(c)) return name();
  symbol();
}

/// Digits that `accept` takes, with single underscores between them, from `place` on.
uint64_t digits_end(std::string_view source, uint64_t place, bool (*accept)(char)) {
  while (place < source.size() &&
         (accept(source[place]) ||
          (source[place] == '_' && place + 1 < source.size() && accept(source[place + 1])))) {
    ++place;
  }
  return place;
}

/// Where the number at `position` ends and what it is.
struct NumberShape {
  uint64_t end = 0;
  int base = 10;
  bool real = false;
};

/// digits, .digits and e±digits behind them
NumberShape decimal_shape(std::string_view source, uint64_t position) {
  const auto character = [&](uint64_t i) { return i < source.size() ? source[i] : '\0'; };
  NumberShape shape{digits_end(source, position, is_digit_character)};
  // Behind a dot stands an index: a.0.1
  if (position > 0 && source[position - 1] == '.') return shape;
  if (character(shape.end) == '.' && is_digit_character(character(shape.end + 1))) {
    shape.real = true;
    shape.end = digits_end(source, shape.end + 1, is_digit_character);
  }
  if ((character(shape.end) | 32) != 'e') return shape;
  const char sign = character(shape.end + 1);
  const uint64_t digits = shape.end + 1 + (sign == '+' || sign == '-');
  if (!is_digit_character(character(digits))) return shape;
  return {digits_end(source, digits, is_digit_character), 10, true};
}

NumberShape number_shape(std::string_view source, uint64_t position) {
  const char prefix = static_cast<char>(
      (source[position] == '0' && position + 1 < source.size() ? source[position + 1] : 0) | 32);
  if (prefix == 'b') {
    return {digits_end(source, position + 2, [](char c) { return c == '0' || c == '1'; }), 2};
  }
  if (prefix == 'o') {
    return {digits_end(source, position + 2, [](char c) { return c >= '0' && c <= '7'; }), 8};
  }
  if (prefix == 'x') {
    const auto accept = [](char c) {
      return is_digit_character(c) || ((c | 32) >= 'a' && (c | 32) <= 'f');
    };
    return {digits_end(source, position + 2, accept), 16};
  }
  return decimal_shape(source, position);
}

void Lexer::number() {
  const NumberShape shape = number_shape(source, position);
  std::string digits = source.substr(position, shape.end - position);
  std::erase(digits, '_');
  add(shape.real ? TokenKind::real : TokenKind::integer, digits);
  Token& made = tokens.back();
  const char* first = digits.data() + (shape.base == 10 ? 0 : 2);
  const char* last = digits.data() + digits.size();
  const std::errc error = shape.real ? std::from_chars(first, last, made.real).ec
                                     : std::from_chars(first, last, made.integer, shape.base).ec;
  if (shape.real && error == std::errc::result_out_of_range) {
    made.real = std::strtod(digits.c_str(), nullptr);  // infinite or 0, as Python's
  } else if (error == std::errc::result_out_of_range && shape.base != 10) {
    fail("the integer " + digits.substr(0, 40) + " doesn't fit 64 bits", place);
  } else if (error == std::errc::invalid_argument) {
    fail("'" + digits + "' is not a number", place);
  }
  const bool zeros = digits.find_first_not_of('0') == std::string::npos;
  if (shape.base == 10 && !shape.real && digits[0] == '0' && !zeros) {
    fail("the number " + digits.substr(0, 40) + " begins with a zero", place);
  }
  advance(shape.end - position);
}

void Lexer::quoted() {
  const char quote = source[position];
  uint64_t end = position + 1;
  while (end < source.size() && source[end] != quote) end += source[end] == '\\' ? 2 : 1;
  if (end >= source.size()) fail("the string is not closed", place);
  const std::string_view text = std::string_view(source).substr(position + 1, end - position - 1);
  add(TokenKind::string, decode_escapes(text, place));
  advance(end + 1 - position);
}

void Lexer::name() {
  uint64_t end = position;
  while (end < source.size() && is_name_byte(source[end])) ++end;
  std::string text = source.substr(position, end - position);
  for (uint64_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    if (code >= 0x80 && !is_letter_or_number(code)) {
      fail("'" + text + "' is not a name", place);
    }
  }
  add(TokenKind::name, std::move(text));
  advance(end - position);
}

void Lexer::symbol() {
  static constexpr std::string_view symbols[] = {"**", "//", "==", "!=", ">=", "<=", "+", "-", "*",
                                                 "/",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                 "=",  ">",  "<",  ".",  ":",  "|",  ",", ";"};
  for (const std::string_view text : symbols) {
    if (!at(text)) continue;
    const char c = text[0];
    if (c == '(' || c == '[' || c == '{') brackets.emplace_back(c, place);
    if (c == ')' || c == ']' || c == '}') {
      const char open = c == ')' ? '(' : c == ']' ? '[' : '{';
      if (brackets.empty() || brackets.back().first != open) {
        fail("'" + std::string(1, c) + "' closes nothing", place);
      }
      brackets.pop_back();
    }
    add(TokenKind::symbol, std::string(text));
    advance(text.size());
    return;
  }
  uint64_t end = position;
  next_code_point(source, end);
  fail("unexpected character '" + source.substr(position, end - position) + "'", place);
}

}  // namespace

std::vector<Token> tokenize(std::string_view source, const Limits& limits) {
  if (source.size() > limits.template_bytes) {
    fail("the template has " + std::to_string(source.size()) + " bytes, more than the limit of " +
         std::to_string(limits.template_bytes));
  }
  if (!is_valid_utf8(source)) fail("the template is not valid UTF-8");
  Lexer lexer;
  lexer.source = normalized(source);
  lexer.run();
  return std::move(lexer.tokens);
}

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::text:
      return "text";
    case TokenKind::block_begin:
      return "'{%'";
    case TokenKind::block_end:
      return "'%}'";
    case TokenKind::variable_begin:
      return "'{{'";
    case TokenKind::variable_end:
      return "'}}'";
    case TokenKind::string:
      return "a string";
    case TokenKind::end:
      return "the end of the template";
    default:
      return "'" + token.text + "'";
  }
}

}  // namespace assay::jinja
