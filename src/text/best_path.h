// PLaMo 2's and 3's way to tokens: of all ways to spell a text in pieces, the one whose scores have the
// highest sum, by dynamic programming from the end. Source: Viterbi 1967, "Error bounds for
// convolutional codes and an asymptotically optimum decoding algorithm"; the sums are in whole 1e-4 of
// a score, as in PLaMo's own tokenizer.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "text/lost_bytes.h"
#include "text/spelling.h"
#include "text/vocabulary.h"

namespace assay::text {

class BestPath {
 public:
  /// Text may become normal, user-defined, unused and undefined tokens. Errors: two such tokens of one
  /// spelling; those of byte_tokens.
  static Result<BestPath> build(const Vocabulary& vocabulary);

  /// Appends the tokens of `text`. Of equal sums the one with the longer piece first. A character that
  /// no piece begins with costs as much as a score of -1000 and becomes the tokens of its bytes; a byte
  /// without one is left out and counted in `lost`. The work is text × longest piece.
  void encode(std::string_view text, std::vector<int32_t>& tokens, LostBytes& lost) const;

 private:
  struct Node {
    int32_t token = -1;
    int64_t cost = 0;
  };
  struct Step {
    int64_t cost = 0;     // of the text from here on
    uint64_t length = 0;  // bytes of the piece
    int32_t token = -1;   // -1: the tokens of its bytes
  };
  static uint64_t edge(uint32_t node, char byte) {
    return uint64_t{node} << 8 | static_cast<uint8_t>(byte);
  }
  Node& node_of(std::string_view spelling);
  Step best_step(std::string_view rest, const Step* steps) const;

  std::vector<Node> nodes_{1};  // a trie over bytes; the root first
  std::unordered_map<uint64_t, uint32_t> children_;
  ByteTokens bytes_{};
};

}  // namespace assay::text
