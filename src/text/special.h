// Cuts text at the spellings of special tokens.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace assay::text {

/// A special token, or ordinary text between two.
struct Fragment {
  std::string_view text;
  int32_t token = -1;  ///< -1: ordinary text
};

/// The spellings as a trie over bytes: the work is text × longest spelling, however many spellings
/// there are.
class SpecialTokens {
 public:
  SpecialTokens();

  /// `always`: found also where special tokens are not parsed (user-defined tokens).
  void add(std::string_view spelling, int32_t token, bool always);

  /// The leftmost spelling first, the longest where several begin at one byte. (llama.cpp looks for
  /// the longest of the vocabulary in the whole text first; the two differ only where spellings
  /// overlap.)
  std::vector<Fragment> split(std::string_view text, bool parse_special) const;

 private:
  struct Node {
    int32_t token = -1;
    bool always = false;
  };
  Fragment longest(std::string_view text, bool parse_special) const;
  uint32_t child(uint32_t node, char byte) const;  // 0, the root, where there is none

  std::vector<Node> nodes_;
  std::unordered_map<uint64_t, uint32_t> children_;  // parent << 8 | byte
  bool begins_[256] = {};                            // some spelling begins with this byte
};

}  // namespace assay::text
