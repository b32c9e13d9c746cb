// Template source → tokens, with all of Jinja's white space rules applied: `-` and `+` in tags,
// trim_blocks (a newline after a block tag or a comment goes) and lstrip_blocks (blanks from the
// start of a line to a block tag or a comment go).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/limits.h"

namespace assay::jinja {

enum class TokenKind {
  text,            ///< outside of tags, never empty
  block_begin,     ///< {%
  block_end,       ///< %}
  variable_begin,  ///< {{
  variable_end,    ///< }}
  name,
  string,  ///< `text` is the decoded value
  integer,
  real,
  symbol,  ///< an operator, bracket or separator
  end
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::string text;
  Place place;
  int64_t integer = 0;  ///< where it fits; `text` has the digits
  double real = 0;
};

/// Fails with a line for what no token begins with, unclosed tags and brackets, bad escapes.
std::vector<Token> tokenize(std::string_view source, const Limits& limits);

/// The value of a string literal: the text between the quotes with Python's escapes decoded.
std::string decode_escapes(std::string_view text, Place place);

/// "the end of the template", "'%}'", "'name'" for messages.
std::string describe(const Token& token);

}  // namespace assay::jinja
