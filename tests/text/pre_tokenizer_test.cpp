#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include "support.h"

namespace assay::text {
namespace {

using Words = std::vector<std::string>;
const char* const four[] = {"smollm", "gpt-2", "llama-bpe", "qwen2"};

Words split(std::string_view rules, std::string_view text, bool just_in_time = true) {
  const PreTokenizer pre_tokenizer(*find_rules(rules), just_in_time);
  const auto pieces = pre_tokenizer.split(text);
  return Words(pieces.begin(), pieces.end());
}

TEST(PreTokenizer, DigitsGroupAsEachFamilyHasThem) {
  EXPECT_EQ(split("gpt-2", "ab 12345"), (Words{"ab", " 12345"}));
  EXPECT_EQ(split("smollm", "ab 12345"), (Words{"ab", " ", "1", "2", "3", "4", "5"}));
  EXPECT_EQ(split("qwen2", "ab 12345"), (Words{"ab", " ", "1", "2", "3", "4", "5"}));
  EXPECT_EQ(split("llama-bpe", "ab 12345"), (Words{"ab", " ", "123", "45"}));
}

TEST(PreTokenizer, SpacesBeforeAWordLeaveItOne) {
  for (const auto* rules : four) {
    EXPECT_EQ(split(rules, "a   b"), (Words{"a", "  ", " b"})) << rules;
    EXPECT_EQ(split(rules, "a   "), (Words{"a", "   "})) << rules;
  }
}

TEST(PreTokenizer, LineEndsStayTogetherInLlamaAndQwenOnly) {
  for (const auto* rules : {"llama-bpe", "qwen2"}) {
    EXPECT_EQ(split(rules, "a.\n\nb \n c"), (Words{"a", ".\n\n", "b", " \n", " c"})) << rules;
  }
  for (const auto* rules : {"smollm", "gpt-2"}) {
    EXPECT_EQ(split(rules, "a.\n\nb \n c"), (Words{"a", ".", "\n", "\n", "b", " \n", " c"}))
        << rules;
  }
}

TEST(PreTokenizer, ContractionsMindCaseInGpt2AndSmollmOnly) {
  for (const auto* rules : {"smollm", "gpt-2"}) {
    EXPECT_EQ(split(rules, "I'll I'LL"), (Words{"I", "'ll", " I", "'", "LL"})) << rules;
  }
  for (const auto* rules : {"llama-bpe", "qwen2"}) {
    EXPECT_EQ(split(rules, "I'll I'LL"), (Words{"I", "'ll", " I", "'LL"})) << rules;
    EXPECT_EQ(split(rules, "it\u2019s"), (Words{"it", "\u2019s"}))
        << rules;  // any mark leads a word
  }
}

TEST(PreTokenizer, LettersAndNumbersAreUnicodes) {
  EXPECT_EQ(split("gpt-2", "\u00c4pfel \u0431\u044b\u043b \u0e51\u00bd"),
            (Words{"\u00c4pfel", " \u0431\u044b\u043b", " \u0e51\u00bd"}));
  EXPECT_EQ(split("gpt-2", "e\u0301"), (Words{"e", "\u0301"}));  // a mark is neither
}

TEST(PreTokenizer, WhiteSpaceIsThePropertyWhiteSpace) {
  for (const auto* rules : four) {
    // As "1  1" would be cut; smollm has cut at the digits before, so no word follows its spaces.
    const bool digits_first = std::string_view(rules) == "smollm";
    EXPECT_EQ(split(rules, "1\u0085\u30001"), digits_first ? (Words{"1", "\u0085\u3000", "1"})
                                                           : (Words{"1", "\u0085", "\u3000", "1"}))
        << rules;
    // U+180E was white space before Unicode 6.3: now it stands with the other marks.
    EXPECT_EQ(split(rules, "1!\u180e!1"), (Words{"1", "!\u180e!", "1"})) << rules;
  }
}

TEST(PreTokenizer, BytesThatAreNotUtf8StandAlone) {
  for (const auto* rules : four) {
    EXPECT_EQ(split(rules, "ab\xFF\xC3 cd"), (Words{"ab", "\xFF\xC3", " cd"})) << rules;
    EXPECT_EQ(split(rules, "\xE2\x82"), (Words{"\xE2\x82"})) << rules;
  }
}

struct Example {
  const char* rules;
  const char* text;
  Words words;
};

TEST(PreTokenizer, EveryFamilyCutsAsItsRulesSay) {
  const std::vector<Example> examples = {
      // Marks apart from the space before them; numbers by three from the left, ASCII's only.
      {"default", "a+b c !12345", {"a", "+", "b", " c", " ", "!", "123", "45"}},
      {"default",
       "a `b \uff11\uff12\uff13\uff14",
       {"a", " `", "b", " ", "\uff11\uff12\uff13\uff14"}},
      {"falcon", "a `b12345", {"a", " ", "`", "b", "123", "45"}},
      {"deepseek-llm", "ab 12\n\ncd!  ", {"ab", " ", "12", "\n", "\n", "cd", "!", "  "}},
      {"deepseek-llm", "a   b\u4f60\u597dc", {"a", "  ", " b", "\u4f60\u597d", "c"}},
      {"deepseek-llm", "  12  ", {"  ", "12", "  "}},
      {"deepseek-coder", "ab 12.cd", {"ab", " ", "1", "2", ".", "cd"}},
      {"deepseek-v3",
       "ab .cd12345\u4f60e\u0301 .",
       {"ab", " .", "cd", "123", "45", "\u4f60", "e\u0301", " ."}},
      {"deepseek-v3", "x.y", {"x", ".y"}},
      {"spark2_5", "12 ab\n\n.\n", {"1", "2", " ab", "\n", "\n", ".", "\n"}},
      // Capitals lead a word; a letter outside ASCII is both.
      {"tekken", "HTTPServer \u00e9\u00c9a 12", {"HTTPServer", " \u00e9\u00c9a", " ", "1", "2"}},
      {"tekken", "camelCase it's", {"camel", "Case", " it", "'s"}},
      {"gpt-4o", "it's I'LL 12345", {"it's", " I'LL", " ", "123", "45"}},
      {"gpt-4o", "aB/\n/b", {"a", "B", "/\n/", "b"}},
      {"gpt-4o", "e\u0301a", {"e", "\u0301a"}},
      {"granite-embed-multi-97m", "e\u0301aB\u0301", {"e\u0301a", "B\u0301"}},
      {"qwen2", "e\u0301a", {"e", "\u0301a"}},
      {"qwen35", "e\u0301a \u0301", {"e\u0301a", " \u0301"}},
      {"youtu", "abCD's\u4f60\u597d\uff11", {"abCD's", "\u4f60\u597d", "\uff11"}},
      {"kimi-k2", "ab\u4f60\u597dcd's12345", {"ab", "\u4f60\u597d", "cd's", "123", "45"}},
      // Threes counted from the right.
      {"tiny_aya", "ab1234 12", {"ab", "1", "234", " ", "12"}},
      {"afmoe", "1234567 x", {"1", "234", "567", " x"}},
      {"superbpe", "a  b!123456", {"a  b!", "123", "456"}},
      {"superbpe", "1234567", {"1", "234", "567"}},
      {"bloom", " foo.bar, x12", {" foo", ".", "bar", ",", " x12"}},
      {"viking", "a12", {"a", "1", "2"}},
      // 7 spaces: 4, 2, and one for the word; llama-bpe has 6 and one.
      {"jais-2", "a       b", {"a", "    ", "  ", " b"}},
      {"minicpm5", "12345", {"123", "45"}},
      {"ufakzeka", "it'sx", {"it", "'sx"}},
      {"qwen2", "it'sx", {"it", "'s", "x"}},
      {"seed-coder", "!\n\n", {"!", "\n\n"}},
      {"bailingmoe", "!\n \n a", {"!\n", " \n", " a"}},
      {"exaone-moe", "ab cd e\u0301f  g!\n\n", {"ab cd e\u0301f", " ", " g", "!\n", "\n"}},
      {"laguna", " \n a", {" ", "\n", " a"}},
      {"chameleon", "IMGIMGABZx    y\t", {"IMGIMGABZ", "x", "    ", "y", "\t"}},
  };
  for (const auto& [rules, text, words] : examples) {
    EXPECT_EQ(split(rules, text), words) << rules << ": " << text;
  }
}

TEST(PreTokenizer, InterpretedAndCompiledPatternsCutAlike) {
  const std::string inp = read_file(shared_data() / "tokenizers" / "ggml-vocab-gpt-2.gguf.inp");
  for (const std::string& rules : families()) {
    for (const std::string& text : {std::string(" I'LL\t12 3456\r\n\n x\u00a0y\u0301z  "), inp,
                                    repeated(" ", 20'000), repeated("a", 20'000)}) {
      EXPECT_EQ(split(rules, text, true), split(rules, text, false)) << rules;
    }
  }
}

/// Seconds for the cuts of the unit repeated, which must lose nothing.
double seconds_for(const PreTokenizer& pre_tokenizer, const std::string& text) {
  const double start = seconds();
  std::string joined;
  for (const auto piece : pre_tokenizer.split(text)) joined += piece;
  EXPECT_EQ(joined == text, true);
  return seconds() - start;
}

TEST(PreTokenizer, AdversarialMegabytesTakeSecondsAtMostAndLoseNothing) {
  for (const std::string& rules : families()) {
    const PreTokenizer compiled(*find_rules(rules)), interpreted(*find_rules(rules), false);
    for (const char* unit : {"a", "A", "\u00e9", " ", "\u0301", "7", "'", "\n", " \n", "\n ",
                             "a\xFF", "\xF0\x9F", "!", "a ", " 7", "\u4f60"}) {
      // Quadratic work on a megabyte is 10^12 steps, at least minutes; on a tenth of it, which is
      // enough for the slower interpreter, 10^10.
      EXPECT_LT(seconds_for(compiled, repeated(unit, 1'000'000) + "x"), 20) << rules << unit;
      EXPECT_LT(seconds_for(interpreted, repeated(unit, 100'000) + "x"), 20) << rules << unit;
    }
  }
}

TEST(PreTokenizer, AliasesShareRulesAndOthersAreUnknown) {
  EXPECT_EQ(find_rules("llama3")->stages.data(), find_rules("llama-bpe")->stages.data());
  EXPECT_TRUE(find_rules("llama3")->whole_words);
  EXPECT_FALSE(find_rules("dbrx")->whole_words);  // llama-bpe's cuts, not its whole words
  for (const char* name : {"", "gpt-4", "whitespace", "gemma3", "GPT-2"}) {
    EXPECT_EQ(find_rules(name), nullptr) << name;
  }
}

TEST(PreTokenizer, EveryNameIsThereOnceAndListed) {
  std::set<std::string_view> names;
  for (const PreTokenizerRules& rules : pre_tokenizer_rules()) {
    EXPECT_TRUE(names.insert(rules.name).second) << rules.name;
    EXPECT_EQ(find_rules(rules.name), &rules);
    EXPECT_NE(supported_pre_tokenizers().find(rules.name), std::string::npos);
    EXPECT_FALSE(rules.stages.empty()) << rules.name;
  }
}

}  // namespace
}  // namespace assay::text
