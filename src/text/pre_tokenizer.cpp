#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pre_tokenizer.h"

#include <pcre2.h>

#include <array>
#include <cassert>

#include "text/utf8.h"

namespace assay::text {
namespace {

using Stages = std::span<const std::string_view>;

// From the models' own tokenizer.json, in the form that llama.cpp applies them: contractions in
// ASCII only, \s and \S by the Unicode property White_Space (see with_white_space).
constexpr std::string_view gpt2_words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view each_digit = R"(\p{N})";
constexpr std::string_view llama3_words =
    R"('[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view qwen2_words =
    R"('[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr std::array gpt2_stages{gpt2_words};
constexpr std::array smollm_stages{each_digit, gpt2_words};
constexpr std::array llama3_stages{llama3_words};
constexpr std::array qwen2_stages{qwen2_words};

// Aliases are the names to which llama.cpp gives the very same rules. A name that is not here is
// refused: other rules would give other ids without a sign. BOS: of these families llama.cpp adds
// it for llama-bpe's.
constexpr PreTokenizerRules smollm(std::string_view name) {
  return {name, smollm_stages};
}
constexpr PreTokenizerRules gpt2(std::string_view name) {
  return {name, gpt2_stages};
}
constexpr PreTokenizerRules llama3(std::string_view name) {
  return {name, llama3_stages, true, true};
}
constexpr PreTokenizerRules qwen2(std::string_view name) {
  return {name, qwen2_stages};
}

constexpr PreTokenizerRules all_rules[] = {
    smollm("smollm"),    gpt2("gpt-2"),
    llama3("llama-bpe"), qwen2("qwen2"),
    smollm("starcoder"), smollm("refact"),
    smollm("command-r"), gpt2("phi-2"),
    llama3("llama3"),    llama3("llama-v3"),
    llama3("falcon3"),   llama3("pixtral"),
    qwen2("megrez"),     qwen2("deepseek-r1-qwen"),
};

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

using MatchData = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;
using MatchContext = std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)>;

}  // namespace

const PreTokenizerRules* find_rules(std::string_view name) {
  for (const auto& rules : all_rules) {
    if (rules.name == name) return &rules;
  }
  return nullptr;
}

std::string supported_pre_tokenizers() {
  std::string names;
  for (const auto& rules : all_rules) {
    if (!names.empty()) names += ", ";
    names += rules.name;
  }
  return names;
}

struct PreTokenizer::Stage {
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code;

  /// Cuts UTF-8 `text` at the matches; what lies between two is a piece too.
  void cut(std::string_view text, pcre2_match_data* match, pcre2_match_context* context,
           std::vector<std::string_view>& pieces) const;
};

void PreTokenizer::Stage::cut(std::string_view text, pcre2_match_data* match,
                              pcre2_match_context* context,
                              std::vector<std::string_view>& pieces) const {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  uint64_t done = 0;
  while (done < text.size()) {
    // The check of the whole subject's UTF-8 at every call would make this quadratic.
    const int found =
        pcre2_match(code.get(), subject, text.size(), done, PCRE2_NO_UTF_CHECK, match, context);
    if (found < 0) break;  // no match, or a limit of PCRE2's: the rest is a piece, nothing is lost
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match);
    assert(ends[1] > ends[0] && "no pattern matches nothing");
    if (ends[0] > done) pieces.push_back(text.substr(done, ends[0] - done));
    pieces.push_back(text.substr(ends[0], ends[1] - ends[0]));
    done = ends[1];
  }
  if (done < text.size()) pieces.push_back(text.substr(done));
}

PreTokenizer::PreTokenizer(const PreTokenizerRules& rules, bool just_in_time) {
  for (const std::string_view stage : rules.stages) {
    const std::string pattern = with_white_space(stage);
    int error = 0;
    PCRE2_SIZE where = 0;
    pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                     PCRE2_UTF, &error, &where, nullptr);
    assert(code != nullptr && "the patterns above are fixed");
    // Where PCRE2 has no compiler for this machine, pcre2_match interprets.
    if (just_in_time) pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    stages_.push_back({{code, pcre2_code_free}});
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
