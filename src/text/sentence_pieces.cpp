#include "text/sentence_pieces.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <queue>

#include "gguf/reader.h"
#include "text/utf8.h"

namespace assay::text {
namespace {

constexpr uint64_t longest_part = uint64_t{1} << 30;  // bytes; symbols are numbered in 32 bits

}  // namespace

Result<SentencePieces> SentencePieces::build(const Vocabulary& vocabulary) {
  SentencePieces result;
  result.pieces_.reserve(vocabulary.spellings.size());
  for (uint64_t id = 0; id < vocabulary.spellings.size(); ++id) {
    const std::string_view spelling = vocabulary.spellings[id];
    const float score = vocabulary.scores[id];
    if (std::isnan(score)) {
      return Error{
          fmt::format("the score of token {} '{}' is not a number", id, gguf::printable(spelling))};
    }
    if (spelling.empty() || !reached_by_text(vocabulary.types[id])) continue;
    const auto token = static_cast<int32_t>(id);
    const auto [place, inserted] =
        result.pieces_.try_emplace(std::string(spelling), Piece{token, score});
    if (!inserted) {
      return Error{fmt::format("tokens {} and {} have the same spelling '{}'", place->second.token,
                               id, gguf::printable(spelling))};
    }
    result.longest_ = std::max<uint64_t>(result.longest_, spelling.size());
  }
  if (Status status = result.add_bytes(vocabulary); !status) return status.error();
  return result;
}

Status SentencePieces::add_bytes(const Vocabulary& vocabulary) {
  const auto tokens = byte_tokens(vocabulary);
  if (!tokens) return tokens.error();
  bytes_ = *tokens;
  unknown_ = vocabulary.unknown;
  for (int byte = 0; byte < 256 && unknown_ < 0; ++byte) {
    if (bytes_[byte] < 0) {
      return Error{fmt::format("there is neither a token <0x{:02X}> nor an unknown token", byte)};
    }
  }
  return ok();
}

const SentencePieces::Piece* SentencePieces::find(std::string_view text) const {
  if (text.size() > longest_) return nullptr;
  const auto found = pieces_.find(text);
  return found == pieces_.end() ? nullptr : &found->second;
}

std::vector<SentencePieces::Symbol> SentencePieces::symbols_of(std::string_view text) const {
  std::vector<Symbol> symbols;
  symbols.reserve(text.size());
  for (uint64_t begin = 0; begin < text.size();) {
    const uint64_t length = first_character(text.substr(begin)).length;
    const auto i = static_cast<uint32_t>(symbols.size());
    symbols.push_back({begin, static_cast<uint32_t>(length), i + 1, i == 0 ? 0 : i - 1});
    begin += length;
  }
  return symbols;
}

void SentencePieces::merge(std::string_view text, std::vector<Symbol>& symbols) const {
  const auto count = static_cast<uint32_t>(symbols.size());
  const auto length_at = [&](uint32_t left) {
    return uint64_t{symbols[left].length} + symbols[symbols[left].next].length;
  };
  std::priority_queue<Candidate, std::vector<Candidate>, Later> candidates;
  const auto consider = [&](uint32_t left) {
    const uint32_t right = symbols[left].next;
    if (right == count) return;
    const uint64_t length = length_at(left);
    const Piece* piece = find(text.substr(symbols[left].begin, length));
    if (piece != nullptr) candidates.push({piece->score, left, right, length});
  };
  for (uint32_t i = 0; i < count; ++i) consider(i);

  while (!candidates.empty()) {
    const Candidate candidate = candidates.top();
    candidates.pop();
    Symbol& left = symbols[candidate.left];
    Symbol& right = symbols[candidate.right];
    // Symbols only grow or go, so an equal length means that neither has changed.
    if (left.length == 0 || right.length == 0) continue;
    if (uint64_t{left.length} + right.length != candidate.length) continue;
    left.length += right.length;
    left.next = right.next;
    right.length = 0;
    if (left.next < count) symbols[left.next].previous = candidate.left;
    if (candidate.left > 0) consider(left.previous);
    consider(candidate.left);
  }
}

void SentencePieces::give_out(std::string_view text, std::vector<int32_t>& tokens,
                              LostBytes& lost) const {
  if (const Piece* piece = find(text)) {
    tokens.push_back(piece->token);
    return;
  }
  const auto token_of = [&](char byte) { return bytes_[static_cast<uint8_t>(byte)]; };
  if (std::any_of(text.begin(), text.end(), [&](char byte) { return token_of(byte) < 0; })) {
    tokens.push_back(unknown_);
    for (const char byte : text) ++lost[static_cast<uint8_t>(byte)];
    return;
  }
  for (const char byte : text) tokens.push_back(token_of(byte));
}

void SentencePieces::encode(std::string_view text, std::vector<int32_t>& tokens,
                            LostBytes& lost) const {
  const std::string letters = with_space_letters(text);
  std::string_view rest = letters;
  while (!rest.empty()) {
    uint64_t end = std::min<uint64_t>(rest.size(), longest_part);
    while (end < rest.size() && (rest[end] & 0xC0) == 0x80 && end > longest_part - 4) --end;
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(end);
    std::vector<Symbol> symbols = symbols_of(part);
    merge(part, symbols);
    for (uint32_t i = 0; i < symbols.size(); i = symbols[i].next) {
      give_out(part.substr(symbols[i].begin, symbols[i].length), tokens, lost);
    }
  }
}

}  // namespace assay::text
