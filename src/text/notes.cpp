#include "text/notes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "gguf/reader.h"
#include "text/utf8.h"

namespace assay::text {
namespace {

std::string count_of_bytes(uint64_t count) {
  return fmt::format("{} byte{}", count, count == 1 ? "" : "s");
}

/// "04, 06, F1", with "…" after the first few.
std::string values_of(const LostBytes& lost) {
  constexpr int most = 12;
  std::string values;
  int listed = 0;
  for (uint64_t byte = 0; byte < lost.size(); ++byte) {
    if (lost[byte] == 0) continue;
    if (listed++ == most) return values + ", …";
    values += fmt::format("{}{:02X}", values.empty() ? "" : ", ", byte);
  }
  return values;
}

/// What shows that a text is UTF-16; empty where nothing does.
std::string signs_of_utf16(std::string_view text) {
  if (text.starts_with("\xFF\xFE")) return "it begins with the bytes FF FE";
  if (text.starts_with("\xFE\xFF")) return "it begins with the bytes FE FF";
  uint64_t zeros[2] = {0, 0};
  for (uint64_t i = 0; i < text.size(); ++i) zeros[i % 2] += text[i] == '\0';
  const uint64_t more = std::max(zeros[0], zeros[1]), fewer = std::min(zeros[0], zeros[1]);
  const bool alternate = text.size() >= 4 && 4 * more > text.size() && 10 * fewer < more;
  return alternate ? "every other byte is 0 in most of it" : "";
}

/// The bytes that are part of no UTF-8 character.
struct Foreign {
  uint64_t count = 0, first = 0;  ///< `first`: offset
};
Foreign foreign_bytes(std::string_view text) {
  Foreign found;
  for (uint64_t at = 0; at < text.size();) {
    const Character character = first_character(text.substr(at));
    if (character.sequence != Sequence::whole) {
      if (found.count == 0) found.first = at;
      found.count += character.length;
    }
    at += character.length;
  }
  return found;
}

}  // namespace

std::vector<std::string> notes_on(const Tokenizer& tokenizer, std::string_view text,
                                  const Encoded& encoded, bool repaired) {
  std::vector<std::string> notes;
  if (const std::string signs = signs_of_utf16(text); !signs.empty()) {
    notes.push_back(
        fmt::format("the text looks like UTF-16 ({}), and assay reads UTF-8; convert it first, for "
                    "example with iconv -f UTF-16 -t UTF-8",
                    signs));
  } else if (const Foreign foreign = foreign_bytes(text); foreign.count > 0) {
    notes.push_back(fmt::format(
        "{} of the text {} not UTF-8 (the first is {:02X}, at offset {}); the model sees {}",
        count_of_bytes(foreign.count), foreign.count == 1 ? "is" : "are",
        static_cast<uint8_t>(text[foreign.first]), foreign.first,
        repaired ? "U+FFFD in their place" : "each as a byte of its own"));
  }
  if (text.starts_with("\xEF\xBB\xBF")) {
    notes.push_back(
        "the text begins with a byte order mark (the bytes EF BB BF), which the model sees as "
        "tokens of their own; remove it from the text if that is not meant");
  }
  const uint64_t lost = std::accumulate(encoded.lost.begin(), encoded.lost.end(), uint64_t{0});
  if (lost > 0) {
    const bool left_out = tokenizer.model() != "llama";
    notes.push_back(fmt::format(
        "{} of {} bytes have no token in this vocabulary and {} ({})", lost, text.size(),
        left_out ? "were left out" : "became the unknown token", values_of(encoded.lost)));
  }
  const auto& tokens = encoded.tokens;
  const Token bos = tokenizer.bos();
  if (bos >= 0 && tokens.size() > 1 && tokens[0] == bos && tokens[1] == bos) {
    notes.push_back(
        fmt::format("the prompt begins with two beginning-of-sequence tokens '{}', of which the "
                    "text spells at least one; remove it there, or give --no-bos",
                    gguf::printable(tokenizer.spelling(bos))));
  }
  return notes;
}

}  // namespace assay::text
