#include "text/spelling.h"

#include <fmt/format.h>

#include "gguf/reader.h"

namespace assay::text {
namespace {

int hexadecimal(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

}  // namespace

int byte_of_spelling(std::string_view spelling) {
  if (spelling.size() != 6 || !spelling.starts_with("<0x") || spelling[5] != '>') return -1;
  const int high = hexadecimal(spelling[3]), low = hexadecimal(spelling[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool reached_by_text(TokenType type) {
  return type != TokenType::control && type != TokenType::unknown && type != TokenType::byte;
}

std::string with_space_letters(std::string_view text) {
  std::string letters;
  letters.reserve(text.size() + text.size() / 2);
  for (const char c : text) {
    if (c == ' ') {
      letters += space_letter;
    } else {
      letters += c;
    }
  }
  return letters;
}

std::string with_spaces(std::string_view spelling) {
  std::string text;
  text.reserve(spelling.size());
  for (uint64_t i = 0; i < spelling.size();) {
    const bool space = spelling.substr(i).starts_with(space_letter);
    text += space ? ' ' : spelling[i];
    i += space ? space_letter.size() : 1;
  }
  return text;
}

Result<ByteTokens> byte_tokens(const Vocabulary& vocabulary) {
  ByteTokens tokens;
  tokens.fill(-1);
  for (uint64_t id = 0; id < vocabulary.spellings.size(); ++id) {
    if (vocabulary.types[id] != TokenType::byte) continue;
    const int byte = byte_of_spelling(vocabulary.spellings[id]);
    if (byte < 0) {
      return Error{
          fmt::format("token {} is a byte token, but is spelled '{}', not <0x00> to <0xFF>", id,
                      gguf::printable(vocabulary.spellings[id]))};
    }
    if (tokens[byte] >= 0) {
      return Error{fmt::format("tokens {} and {} are both the byte {}", tokens[byte], id,
                               vocabulary.spellings[id])};
    }
    tokens[byte] = static_cast<int32_t>(id);
  }
  return tokens;
}

}  // namespace assay::text
