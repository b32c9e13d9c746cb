// Cuts text into pre-tokens, the pieces inside which byte pairs merge: the rules that
// `tokenizer.ggml.pre` names, as regular expressions.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace assay::text {

/// Where a rule cuts.
enum class Cut {
  around,        ///< before and after each match
  after_threes,  ///< in each match, after every three characters counted from its end, and there
  before_threes  ///< in each match, before every three characters counted from its end
};
struct CutRule {
  std::string_view pattern;
  Cut kind = Cut::around;
};

/// Whether BOS goes before a text. Some files of models that always need it say otherwise.
enum class AddsBos { no, where_silent, always };

struct PreTokenizerRules {
  std::string_view name;            ///< as in tokenizer.ggml.pre
  std::span<const CutRule> stages;  ///< each cuts what the one before it left
  bool whole_words =
      false;  ///< a pre-token that is a vocabulary entry is that token, whatever the merges say
  AddsBos adds_bos = AddsBos::no;
  bool raw = false;  ///< the vocabulary spells as spelling.h says, not in byte-level letters
  bool whole_line_ends = false;  ///< as whole_words, for pre-tokens of line ends alone
};

std::span<const PreTokenizerRules> pre_tokenizer_rules();
/// nullptr where the name is not supported.
const PreTokenizerRules* find_rules(std::string_view name);
/// "smollm, gpt-2, …", with the aliases.
std::string supported_pre_tokenizers();

class PreTokenizer {
 public:
  explicit PreTokenizer(const PreTokenizerRules& rules, bool just_in_time = true);
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;
  ~PreTokenizer();

  /// Pieces that joined are `text`, byte for byte. Bytes that are not UTF-8 are pieces of their
  /// own.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  struct Stage;
  std::vector<Stage> stages_;
};

}  // namespace assay::text
