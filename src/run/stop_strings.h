// Cuts generated text at a stop string, even if the string arrives in several pieces.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace assay::run {

/// Takes text piece by piece. Text that can no longer be part of a stop string is returned at once;
/// the rest is held back. The first complete stop string ends the text (if two are complete at the
/// same byte, the longer one); it is not returned. The result does not depend on how the text is
/// cut into pieces. Empty stop strings are ignored.
///
/// The stop strings are a trie whose nodes also know their longest proper end that is a node: the
/// work is proportional to the text, however long the stop strings are.
/// Source: Aho and Corasick 1975, "Efficient string matching: an aid to bibliographic search".
class StopStrings {
 public:
  explicit StopStrings(const std::vector<std::string>& stops);

  struct Out {
    std::string text;      ///< may be shown now
    bool stopped = false;  ///< a stop string has been seen; later text is swallowed
  };
  Out add(std::string_view piece);

  /// The text still held back when the generation has ended otherwise; empty after a stop.
  std::string finish();

 private:
  struct Node {
    std::map<char, uint32_t> children;
    uint32_t shorter = 0;  ///< the longest proper end of its text that is a node, too
    uint64_t length = 0;   ///< of its text
    uint64_t stop = 0;     ///< length of the longest stop string that ends its text; 0: none
  };
  void link();
  uint32_t next(uint32_t node, char byte) const;

  std::vector<Node> nodes_;
  uint32_t at_ = 0;   ///< the node of the longest end of the text that begins a stop string
  std::string held_;  ///< that end
  bool stopped_ = false;
};

}  // namespace assay::run
