// Cuts text at the spellings of special tokens.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace assay::text {

/// A special token, or ordinary text between two.
struct Fragment {
  std::string_view text;
  int32_t token = -1;  ///< -1: ordinary text
};

/// A part of a text.
struct Span {
  uint64_t begin = 0, end = 0;
};

struct SpecialToken {
  int32_t token = -1;
  bool always = false;       ///< found also where special tokens are not parsed (user-defined)
  bool strips_left = false;  ///< ASCII white space before it belongs to it and is dropped
  bool strips_right = false;
};

/// The spellings as a trie over bytes: the work is text × longest spelling, however many spellings
/// there are.
class SpecialTokens {
 public:
  SpecialTokens();

  /// The token that has this spelling already; -1 where it is new, or empty and left out.
  int32_t add(std::string_view spelling, const SpecialToken& special);

  /// The leftmost spelling first, the longest where several begin at one byte. (llama.cpp looks for
  /// the longest of the vocabulary in the whole text first; the two differ only where spellings
  /// overlap.) `plain`, ascending: what is ordinary text, but for what is `always` found.
  std::vector<Fragment> split(std::string_view text, bool parse_special,
                              std::span<const Span> plain = {}) const;

 private:
  struct Match {
    uint64_t length = 0;
    const SpecialToken* special = nullptr;
  };
  /// Of what is not `always` found, spellings within the first `parsed` bytes.
  Match longest(std::string_view text, uint64_t parsed) const;
  uint32_t child(uint32_t node, char byte) const;  // 0, the root, where there is none

  std::vector<SpecialToken> nodes_;
  std::unordered_map<uint64_t, uint32_t> children_;  // parent << 8 | byte
  bool begins_[256] = {};                            // some spelling begins with this byte
};

}  // namespace assay::text
