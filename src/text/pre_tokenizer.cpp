#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pre_tokenizer.h"

#include <pcre2.h>

#include <cassert>

#include "text/utf8.h"

namespace assay::text {
namespace {

constexpr std::string_view white_space =
    R"(\x09-\x0d\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

/// The pattern with \s and \S written out as the Unicode property White_Space. PCRE2's own \s is
/// ASCII, or, by its Unicode option, holds U+180E as well.
std::string with_white_space(std::string_view pattern) {
  std::string expanded;
  bool in_class = false;
  for (uint64_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '\\') {
      in_class = c == '[' || (in_class && c != ']');
      expanded += c;
      continue;
    }
    const char escaped = pattern[++i];
    if (escaped == 's') {
      expanded += in_class ? std::string(white_space) : "[" + std::string(white_space) + "]";
    } else if (escaped == 'S') {
      expanded += "[^" + std::string(white_space) + "]";
    } else {
      expanded += {c, escaped};
    }
  }
  return expanded;
}

/// Runs of whole characters (`valid`) and of bytes that are none, in turn.
struct Run {
  std::string_view text;
  bool valid;
};
Run first_run(std::string_view text) {
  const bool valid = first_character(text).sequence == Sequence::whole;
  uint64_t length = 0;
  while (length < text.size()) {
    const Character character = first_character(text.substr(length));
    if ((character.sequence == Sequence::whole) != valid) break;
    length += character.length;
  }
  return {text.substr(0, length), valid};
}

uint64_t characters(std::string_view text) {
  uint64_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(first_character(text).length);
  return count;
}

using MatchData = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;
using MatchContext = std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)>;

}  // namespace

struct PreTokenizer::Stage {
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code;
  Cut kind;

  /// Cuts UTF-8 `text` at the matches; what lies between two is a piece too.
  void cut(std::string_view text, pcre2_match_data* match, pcre2_match_context* context,
           std::vector<std::string_view>& pieces) const;

 private:
  int match_at(std::string_view text, uint64_t begin, pcre2_match_data* match,
               pcre2_match_context* context) const;
};

int PreTokenizer::Stage::match_at(std::string_view text, uint64_t begin, pcre2_match_data* match,
                                  pcre2_match_context* context) const {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  // The check of the whole subject's UTF-8 at every call would make this quadratic.
  constexpr uint32_t options = PCRE2_NO_UTF_CHECK;
  const int found = pcre2_match(code.get(), subject, text.size(), begin, options, match, context);
  if (found != PCRE2_ERROR_JIT_STACKLIMIT) return found;
  return pcre2_match(code.get(), subject, text.size(), begin, options | PCRE2_NO_JIT, match,
                     context);
}

void PreTokenizer::Stage::cut(std::string_view text, pcre2_match_data* match,
                              pcre2_match_context* context,
                              std::vector<std::string_view>& pieces) const {
  uint64_t done = 0, searched = 0;
  const auto piece_until = [&](uint64_t end) {
    if (end > done) pieces.push_back(text.substr(done, end - done));
    done = end;
  };
  while (searched < text.size()) {
    if (match_at(text, searched, match, context) < 0) break;
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match);
    assert(ends[1] > ends[0] && "no pattern matches nothing");
    const uint64_t begin = ends[0];
    searched = ends[1];
    if (kind == Cut::around) {
      piece_until(begin);
      piece_until(searched);
      continue;
    }
    uint64_t left = characters(text.substr(begin, searched - begin));
    for (uint64_t i = begin; left > 0; --left) {
      const bool at_three = left % 3 == 0;
      if (at_three && (kind == Cut::before_threes || i > begin)) piece_until(i);
      i += first_character(text.substr(i)).length;
    }
    if (kind == Cut::after_threes) piece_until(searched);
  }
  piece_until(text.size());
}

PreTokenizer::PreTokenizer(const PreTokenizerRules& rules, bool just_in_time) {
  for (const CutRule& stage : rules.stages) {
    const std::string pattern = with_white_space(stage.pattern);
    int error = 0;
    PCRE2_SIZE where = 0;
    pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                     PCRE2_UTF, &error, &where, nullptr);
    assert(code != nullptr && "the patterns are fixed");
    // Where PCRE2 has no compiler for this machine, pcre2_match interprets.
    if (just_in_time) pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    stages_.push_back({{code, pcre2_code_free}, stage.kind});
  }
}

PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;
PreTokenizer::~PreTokenizer() = default;

std::vector<std::string_view> PreTokenizer::split(std::string_view text) const {
  const MatchData match(pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  const MatchContext context(pcre2_match_context_create(nullptr), pcre2_match_context_free);
  // The default of 10 million steps would cut a long run of spaces short. No pattern here
  // backtracks over more than one run, so the steps stay proportional to the text.
  pcre2_set_match_limit(context.get(), UINT32_MAX);

  std::vector<std::string_view> pieces, finer, words;
  while (!text.empty()) {
    const Run run = first_run(text);
    text.remove_prefix(run.text.size());
    words.assign(1, run.text);
    if (run.valid) {
      for (const Stage& stage : stages_) {
        finer.clear();
        for (const std::string_view word : words) {
          stage.cut(word, match.get(), context.get(), finer);
        }
        words.swap(finer);
      }
    }
    pieces.insert(pieces.end(), words.begin(), words.end());
  }
  return pieces;
}

}  // namespace assay::text
