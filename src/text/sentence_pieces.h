// SentencePiece's way to tokens: characters join while two neighbours together spell a token, the
// pair of the highest score first, the leftmost of equals. Spaces are spelled U+2581. A character
// that is no token becomes its bytes' tokens <0x00> … <0xFF>.
// Source: Kudo and Richardson 2018, "SentencePiece"; the order of merges is that of its BPE model.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "text/lost_bytes.h"
#include "text/spelling.h"
#include "text/vocabulary.h"

namespace assay::text {

class SentencePieces {
 public:
  /// Text may become normal, user-defined, unused and undefined tokens; never control, unknown and
  /// byte tokens by their spelling. Errors: two such tokens of one spelling; two tokens for a byte,
  /// or one of byte type that spells none; a score that is not a number; a byte without a token
  /// where there is no unknown token either.
  static Result<SentencePieces> build(const Vocabulary& vocabulary);

  /// Appends the tokens of `text`, whose spaces are spaces yet. A character that is neither a token
  /// nor has tokens for its bytes becomes one unknown token; these bytes are counted in `lost`.
  void encode(std::string_view text, std::vector<int32_t>& tokens, LostBytes& lost) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  struct Piece {
    int32_t token;
    float score;
  };
  struct Symbol {         // a run of the text, from its own index's character on
    uint64_t begin;       // in the text
    uint32_t length = 0;  // bytes; 0: merged into its left neighbour
    uint32_t next, previous;
  };
  struct Candidate {
    float score;
    uint32_t left, right;
    uint64_t length;  // of both; another length now: out of date
  };
  struct Later {
    bool operator()(const Candidate& a, const Candidate& b) const {
      return a.score != b.score ? a.score < b.score : a.left > b.left;
    }
  };
  Status add_bytes(const Vocabulary& vocabulary);
  const Piece* find(std::string_view text) const;
  std::vector<Symbol> symbols_of(std::string_view text) const;
  void merge(std::string_view text, std::vector<Symbol>& symbols) const;
  void give_out(std::string_view text, std::vector<int32_t>& tokens, LostBytes& lost) const;

  std::unordered_map<std::string, Piece, Hash, std::equal_to<>> pieces_;
  uint64_t longest_ = 0;  // piece, in bytes
  ByteTokens bytes_{};
  int32_t unknown_ = -1;
};

}  // namespace assay::text
