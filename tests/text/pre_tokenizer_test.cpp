#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include "support.h"

namespace assay::text {
namespace {

using Words = std::vector<std::string>;
const char* const families[] = {"smollm", "gpt-2", "llama-bpe", "qwen2"};

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
  for (const auto* rules : families) {
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
  for (const auto* rules : families) {
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
  for (const auto* rules : families) {
    EXPECT_EQ(split(rules, "ab\xFF\xC3 cd"), (Words{"ab", "\xFF\xC3", " cd"})) << rules;
    EXPECT_EQ(split(rules, "\xE2\x82"), (Words{"\xE2\x82"})) << rules;
  }
}

TEST(PreTokenizer, InterpretedAndCompiledPatternsCutAlike) {
  const std::string inp = read_file(shared_data() / "tokenizers" / "ggml-vocab-gpt-2.gguf.inp");
  for (const auto* rules : families) {
    for (const std::string& text : {std::string(" I'LL\t12 3456\r\n\n x\u00a0y\u0301z  "), inp,
                                    repeated(" ", 100'000), repeated("a", 100'000)}) {
      EXPECT_EQ(split(rules, text, true), split(rules, text, false)) << rules;
    }
  }
}

TEST(PreTokenizer, AdversarialMegabytesTakeSecondsAtMostAndLoseNothing) {
  for (const auto* rules : families) {
    const PreTokenizer compiled(*find_rules(rules)), interpreted(*find_rules(rules), false);
    for (const char* unit :
         {"a", " ", "\u0301", "7", "'", "\n", " \n", "\n ", "a\xFF", "\xF0\x9F", "!"}) {
      const std::string text = repeated(unit, 1'000'000) + "x";
      for (const PreTokenizer* pre_tokenizer : {&compiled, &interpreted}) {
        const auto start = std::chrono::steady_clock::now();
        std::string joined;
        for (const auto piece : pre_tokenizer->split(text)) joined += piece;
        EXPECT_EQ(joined == text, true) << rules << ' ' << unit;
        // Quadratic work is 10^12 steps, at least minutes.
        EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20))
            << rules << unit;
      }
    }
  }
}

TEST(PreTokenizer, AliasesShareRulesAndOthersAreUnknown) {
  EXPECT_EQ(find_rules("llama3")->stages.data(), find_rules("llama-bpe")->stages.data());
  EXPECT_TRUE(find_rules("llama3")->whole_words);
  for (const char* name : {"default", "", "gpt-4o", "deepseek-llm", "GPT-2"}) {
    EXPECT_EQ(find_rules(name), nullptr) << name;
  }
}

}  // namespace
}  // namespace assay::text
