// What somebody who gives a text should know about the tokens that it became.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace assay::text {

/// One sentence each: bytes that have no token; a byte order mark; a text in UTF-16, or with bytes
/// that are not UTF-8; a second BOS after the one that encoding puts first. Empty for most texts.
/// `repaired`: before the text was encoded, U+FFFD took the place of bytes that are not UTF-8.
std::vector<std::string> notes_on(const Tokenizer& tokenizer, std::string_view text,
                                  const Encoded& encoded, bool repaired = false);

}  // namespace assay::text
