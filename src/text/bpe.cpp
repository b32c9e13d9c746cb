#include "text/bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <queue>

#include "base/mix64.h"
#include "gguf/reader.h"
#include "text/byte_level.h"
#include "text/utf8.h"

namespace assay::text {
namespace {

/// A neighbouring pair that has a merge. It may be out of date by the time it is taken.
struct Candidate {
  int32_t rank;
  uint32_t left;  // index of the left symbol
  uint64_t pair;
};
struct Later {
  bool operator()(const Candidate& a, const Candidate& b) const {
    return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
  }
};

constexpr int32_t no_symbol = INT32_MAX;  // of a character that no token and no merge has
constexpr uint64_t longest_word = uint64_t{1} << 30;  // symbols are numbered in 32 bits

}  // namespace

Merges::Merges(uint64_t count) : slots_(std::bit_ceil(2 * count + 1)) {}

uint64_t Merges::slot(uint64_t pair) const {
  uint64_t i = mix64(pair) & (slots_.size() - 1);  // neighbouring ids must not share slots
  while (slots_[i].rank >= 0 && slots_[i].pair != pair) i = (i + 1) & (slots_.size() - 1);
  return i;
}

void Merges::add(const Merge& merge) {
  Merge& place = slots_[slot(merge.pair)];
  if (place.rank < 0) place = merge;
}

const Merges::Merge* Merges::find(uint64_t pair) const {
  const Merge& place = slots_[slot(pair)];
  return place.rank < 0 ? nullptr : &place;
}

int32_t BytePairs::symbol(std::string bytes) {
  const auto [place, inserted] = symbols_.try_emplace(std::move(bytes), next_symbol_);
  if (inserted) ++next_symbol_;
  return place->second;
}

Result<BytePairs> BytePairs::build(const Strings& spellings, const std::vector<bool>& usable,
                                   std::span<const std::string_view> merges,
                                   const std::optional<ByteTokens>& bytes) {
  BytePairs result;
  result.raw_ = bytes.has_value();
  result.vocabulary_ = result.next_symbol_ = static_cast<int32_t>(spellings.size());
  result.symbols_.reserve(spellings.size() + 256);
  for (uint64_t id = 0; id < spellings.size(); ++id) {
    if (!usable[id]) continue;
    auto text = result.bytes_of(spellings[id]);
    if (!text || text->empty()) continue;  // no text is spelled like this
    const auto token = static_cast<int32_t>(id);
    const auto [place, inserted] = result.symbols_.try_emplace(std::move(*text), token);
    if (!inserted) {
      return Error{fmt::format("tokens {} and {} have the same spelling '{}'", place->second, id,
                               gguf::printable(spellings[id]))};
    }
  }
  for (int byte = 0; byte < 256 && !bytes; ++byte) {
    const int32_t symbol = result.symbol(std::string(1, static_cast<char>(byte)));
    result.byte_symbols_[byte] = symbol;
    result.byte_tokens_[byte] = symbol < result.vocabulary_ ? symbol : -1;
  }
  if (bytes) result.byte_tokens_ = *bytes;
  if (Status status = result.add_merges(merges); !status) return status.error();
  return result;
}

/// The bytes of text that a spelling stands for; nothing where it stands for none.
std::optional<std::string> BytePairs::bytes_of(std::string_view spelling) const {
  return raw_ ? std::string(spelling) : bytes_of_letters(spelling);
}

Status BytePairs::add_merges(std::span<const std::string_view> merges) {
  merges_ = Merges(merges.size());
  for (uint64_t rank = 0; rank < merges.size(); ++rank) {
    const std::string_view text = merges[rank];
    const uint64_t space = text.find(' ');
    if (space == std::string_view::npos || space == 0 || space + 1 == text.size() ||
        text.find(' ', space + 1) != std::string_view::npos) {
      return Error{
          fmt::format("merge {} is '{}'; a merge is two symbols with one space between them", rank,
                      gguf::printable(text))};
    }
    const auto left = bytes_of(text.substr(0, space));
    const auto right = bytes_of(text.substr(space + 1));
    if (!left || !right) continue;  // no text is spelled like this
    const int32_t left_symbol = symbol(*left), right_symbol = symbol(*right);
    merges_.add({Merges::pair(left_symbol, right_symbol), static_cast<int32_t>(rank),
                 symbol(*left + *right)});
  }
  return ok();
}

void BytePairs::merge(std::vector<Symbol>& symbols) const {
  const auto count = static_cast<uint32_t>(symbols.size());
  const auto pair_at = [&](uint32_t left) {
    return Merges::pair(symbols[left].id, symbols[symbols[left].next].id);
  };
  std::vector<Candidate> first;
  for (uint32_t i = 0; i < count && symbols[i].next < count; i = symbols[i].next) {
    const uint64_t pair = pair_at(i);
    if (const auto* merge = merges_.find(pair)) first.push_back({merge->rank, i, pair});
  }
  std::priority_queue candidates(Later{}, std::move(first));

  while (!candidates.empty()) {
    const auto [rank, left, pair] = candidates.top();
    candidates.pop();
    Symbol& symbol = symbols[left];
    if (symbol.id < 0 || symbol.next == count || pair_at(left) != pair) continue;  // out of date
    const Symbol gone = symbols[symbol.next];
    symbols[symbol.next].id = -1;
    symbol.id = merges_.find(pair)->result;
    symbol.next = gone.next;
    if (gone.next < count) symbols[gone.next].previous = left;

    for (const uint32_t i : {symbol.previous, left}) {  // at the start both are `left`: harmless
      if (symbols[i].next == count) continue;
      const uint64_t fresh = pair_at(i);
      if (const auto* merge = merges_.find(fresh)) candidates.push({merge->rank, i, fresh});
    }
  }
}

/// The word's bytes or characters, each at the index of its first byte.
std::vector<BytePairs::Symbol> BytePairs::symbols_of(std::string_view word) const {
  std::vector<Symbol> symbols(word.size());
  for (uint32_t i = 0, before = 0, length = 1; i < symbols.size(); before = i, i += length) {
    int32_t id = no_symbol;
    if (raw_) {
      length = static_cast<uint32_t>(first_character(word.substr(i)).length);
      const auto found = symbols_.find(std::string(word.substr(i, length)));
      if (found != symbols_.end()) id = found->second;
    } else {
      id = byte_symbols_[static_cast<uint8_t>(word[i])];
    }
    symbols[i] = {id, i + length, before};
  }
  return symbols;
}

void BytePairs::encode(std::string_view word, std::vector<int32_t>& tokens, LostBytes& lost) const {
  for (; word.size() > longest_word; word.remove_prefix(longest_word)) {
    encode(word.substr(0, longest_word), tokens, lost);
  }
  std::vector<Symbol> symbols = symbols_of(word);
  merge(symbols);
  for (uint32_t i = 0; i < symbols.size(); i = symbols[i].next) {
    if (symbols[i].id < vocabulary_) {
      tokens.push_back(symbols[i].id);
      continue;
    }
    for (const char c :
         word.substr(i, symbols[i].next - i)) {  // each symbol begins at its first byte
      const int32_t token = byte_tokens_[static_cast<uint8_t>(c)];
      if (token >= 0) {
        tokens.push_back(token);
      } else {
        ++lost[static_cast<uint8_t>(c)];
      }
    }
  }
}

int32_t BytePairs::whole(std::string_view word) const {
  const auto found = symbols_.find(std::string(word));
  return found != symbols_.end() && found->second < vocabulary_ ? found->second : -1;
}

}  // namespace assay::text
