// Byte-pair encoding: of all neighbouring pairs the one whose merge has the lowest rank, the
// leftmost of equals, becomes one symbol, until no pair has a merge. Source: Sennrich, Haddow and
// Birch 2016, "Neural Machine Translation of Rare Words with Subword Units".
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "text/lost_bytes.h"
#include "text/spelling.h"
#include "text/strings.h"

namespace assay::text {

/// Pairs of symbols → merge, by open addressing: a vocabulary has up to some 300 000.
class Merges {
 public:
  struct Merge {
    uint64_t pair = 0;
    int32_t rank = -1;
    int32_t result = -1;  ///< the merged symbol
  };
  explicit Merges(uint64_t count);
  static uint64_t pair(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  /// Of two merges of one pair the first counts.
  void add(const Merge& merge);
  /// nullptr where the pair doesn't merge.
  const Merge* find(uint64_t pair) const;

 private:
  std::vector<Merge> slots_;  // a power of two, at most half full; rank < 0: free
  uint64_t slot(uint64_t pair) const;
};

class BytePairs {
 public:
  /// `usable`: whether ordinary text may become the token. `spellings` and `merges` are in byte-level
  /// letters, and words are merged from their bytes; or, where there are `bytes`, as spelling.h says,
  /// and words are merged from their characters. Errors: a merge without exactly one inner space; two
  /// usable tokens of one spelling.
  static Result<BytePairs> build(const Strings& spellings, const std::vector<bool>& usable,
                                 std::span<const std::string_view> merges,
                                 const std::optional<ByteTokens>& bytes = {});

  /// Appends the tokens of one pre-token. What is no token is given out as the tokens of its bytes.
  /// A byte for which the vocabulary has no token is left out
  /// and counted in `lost`, as llama.cpp and Hugging Face's tokenizers leave it out (SmolLM2 lacks
  /// 21 bytes, 13 of them never in UTF-8).
  void encode(std::string_view word, std::vector<int32_t>& tokens, LostBytes& lost) const;
  /// The token that is this whole word; -1 where there is none.
  int32_t whole(std::string_view word) const;

 private:
  struct Symbol {                     // its first byte is the one at its own index in the word
    int32_t id = -1;                  // -1: merged into its left neighbour
    uint32_t next = 0, previous = 0;  // indices of the neighbours; the word's length at the end, 0
                                      // at the start
  };
  std::optional<std::string> bytes_of(std::string_view spelling) const;
  Status add_merges(std::span<const std::string_view> merges);
  std::vector<Symbol> symbols_of(std::string_view word) const;
  void merge(std::vector<Symbol>& symbols) const;
  int32_t symbol(std::string bytes);  // of any bytes; makes one where there is none

  std::unordered_map<std::string, int32_t> symbols_;
  int32_t vocabulary_ =
      0;  // symbols from here on are no tokens: halves of merges the vocabulary lacks
  int32_t next_symbol_ = 0;
  bool raw_ = false;                // spelled as spelling.h says
  int32_t byte_symbols_[256] = {};  // of byte-level letters only
  ByteTokens byte_tokens_{};
  Merges merges_{0};
};

}  // namespace assay::text
