// Text → tokens → the same bytes, in reasonable time, whatever the text.
#include <gtest/gtest.h>

#include <random>

#include "support.h"

namespace assay::text {
namespace {

/// All bytes; runs of a, of spaces and of U+0301 merge in powers of two up to 64 bytes and more.
HandMade doubling(const std::string& pre) {
  HandMade vocabulary;
  vocabulary.pre = pre;
  for (std::string run : {std::string("a"), std::string("\u0120")}) {
    for (int i = 0; i < 6; ++i, run += run) vocabulary.merge(run, run);
  }
  std::string mark = letters_of_bytes("\u0301");
  vocabulary.merge(letters_of_bytes("\xCC"), letters_of_bytes("\x81"));
  for (int i = 0; i < 5; ++i, mark += mark) vocabulary.merge(mark, mark);
  return vocabulary;
}

bool round_trips(const Tokenizer& tokenizer, const std::string& text) {
  return joined(tokenizer, tokenizer.encode(text, plain)) == text;
}

TEST(RoundTrip, EveryCodePointInEveryFamily) {
  const std::string text = all_of_unicode();
  ASSERT_EQ(text.size(), 128u + 2 * 1920 + 3 * (65536 - 2048 - 2048) + 4 * 1048576);
  for (const std::string& pre : families()) {
    if (find_rules(pre)->raw) continue;  // raw_pairs_test.cpp
    EXPECT_TRUE(round_trips(open(doubling(pre)), text)) << pre;
  }
}

TEST(RoundTrip, EveryPairOfBytes) {
  std::string text;
  for (int i = 0; i < 65536; ++i) text += {static_cast<char>(i >> 8), static_cast<char>(i), 'x'};
  for (const std::string& pre : families()) {
    if (find_rules(pre)->raw) continue;  // raw_pairs_test.cpp
    EXPECT_TRUE(round_trips(open(doubling(pre)), text)) << pre;
  }
}

TEST(RoundTrip, RandomBytesAndTheCutsOfCharacters) {
  const Tokenizer tokenizer = open(doubling("llama-bpe"));
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (int j = 0; j < i; ++j) text += static_cast<char>(random());
    ASSERT_TRUE(round_trips(tokenizer, text)) << i;
  }
  const std::string character = "\U0001f999";
  for (uint64_t cut = 0; cut <= 4; ++cut) {
    ASSERT_TRUE(
        round_trips(tokenizer, "a " + character.substr(0, cut) + " 1" + character.substr(cut)));
  }
}

TEST(RoundTrip, AdversarialMegabytesTakeSecondsAtMost) {
  for (const auto* pre : {"gpt-2", "smollm", "llama-bpe", "superbpe"}) {
    const Tokenizer tokenizer = open(doubling(pre));
    for (const char* unit : {"a", " ", "\u0301", "7", "\n", " \n", "\xFF", "ab", "<", "\r"}) {
      const std::string text = repeated(unit, 1'000'000);
      const double start = seconds();
      EXPECT_TRUE(round_trips(tokenizer, text)) << pre << ' ' << unit;
      // n log n is some 10^7 steps; n² would be 10^12, at least minutes.
      EXPECT_LT(seconds() - start, 20) << pre << ' ' << unit;
    }
  }
}

TEST(RoundTrip, AMegabyteOfOneLetterMergesAsItsLengthSays) {
  HandMade vocabulary = doubling("gpt-2");
  const auto tokens = open(vocabulary).encode(repeated("a", 1'000'003), plain);
  // Equal pairs merge from the left at every level: ⌊1000003/64⌋ = 15625 runs of 64, rest 3 = 2
  // + 1.
  ASSERT_EQ(tokens.size(), 15625u + 2);
  EXPECT_EQ(tokens.front(), 261);  // 256 is aa, 261 is a^64
  EXPECT_EQ(tokens[15625], 256);
  EXPECT_EQ(tokens[15626], 'a');
}

}  // namespace
}  // namespace assay::text
