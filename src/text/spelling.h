// How vocabularies that do not spell in byte-level letters spell text: spaces as U+2581, and bytes for
// which there is no better token as <0x00> … <0xFF>.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/vocabulary.h"

namespace assay::text {

inline constexpr std::string_view space_letter = "\xE2\x96\x81";  // U+2581

/// Whether text may become such a token by its letters alone.
bool reached_by_text(TokenType type);

/// Spaces as U+2581.
std::string with_space_letters(std::string_view text);
/// U+2581 as spaces.
std::string with_spaces(std::string_view spelling);

/// The byte that `<0x0A>` spells (six characters, two capital hexadecimal digits); -1 otherwise.
int byte_of_spelling(std::string_view spelling);

/// Byte → its token; -1 where there is none.
using ByteTokens = std::array<int32_t, 256>;
/// The vocabulary's tokens of byte type. Errors: one that is spelled otherwise; two for a byte.
Result<ByteTokens> byte_tokens(const Vocabulary& vocabulary);

}  // namespace assay::text
