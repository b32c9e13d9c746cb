// `plamo2`: the pieces whose scores have the highest sum.
#include "text/best_path.h"

#include <gtest/gtest.h>

#include "support.h"

namespace assay::text {
namespace {

using Tokens = std::vector<Token>;

/// 0 to 2 <|plamo:unk|>, <|plamo:bos|>, <|plamo:eos|>, 3 to 258 the bytes; then 259 a (score -2),
/// 260 b (-3), 261 ab (-4), 262 " a" (-2.5), 263 ba (-1), 264 € (-1).
struct Scored : HandMadePieces {
  Scored() {
    tokens[0] = "<|plamo:unk|>";
    tokens[1] = "<|plamo:bos|>";
    tokens[2] = "<|plamo:eos|>";
    add("a", -2);
    add("b", -3);
    add("ab", -4);
    add(" a", -2.5F);
    add("ba", -1);
    add("\u20ac", -1);
  }
  gguf::Writer writer() const {
    gguf::Writer writer;
    writer.add_string("tokenizer.ggml.model", "plamo2");
    writer.add_string_array("tokenizer.ggml.tokens", tokens);
    writer.add_i32_array("tokenizer.ggml.token_type", types);
    writer.add_f32_array("tokenizer.ggml.scores", scores);
    for (const auto& [key, flag] : flags) writer.add_bool("tokenizer.ggml." + key, flag);
    return writer;
  }
};

TEST(BestPath, TheSumOfTheScoresDecides) {
  const Tokenizer tokenizer = open(Scored());
  EXPECT_EQ(tokenizer.encode("ab", plain), (Tokens{261}));        // -4, not -2 -3
  EXPECT_EQ(tokenizer.encode("aba", plain), (Tokens{259, 263}));  // -2 -1, not -4 -2
  EXPECT_EQ(tokenizer.encode("a a", plain), (Tokens{259, 262}));  // spaces are spaces
  EXPECT_EQ(tokenizer.encode("", plain), Tokens{});
}

TEST(BestPath, OfEqualSumsTheLongerPieceComesFirst) {
  Scored vocabulary;
  const Token abb = vocabulary.add("abb", -5), bb = vocabulary.add("bb", -3);  // a bb: -5, too
  EXPECT_EQ(open(vocabulary).encode("abb", plain), (Tokens{abb}));
  EXPECT_EQ(open(vocabulary).encode("bb", plain), (Tokens{bb}));
}

TEST(BestPath, ScoresCountInTenThousandths) {
  Scored vocabulary;
  vocabulary.add("cd", -2.00006F);  // 20001 of them, and each half 10000
  const Token c = vocabulary.add("c", -1.00004F), d = vocabulary.add("d", -1.00004F);
  EXPECT_EQ(open(vocabulary).encode("cd", plain), (Tokens{c, d}));
}

TEST(BestPath, ACharacterThatNoPieceHasIsItsBytes) {
  const Tokenizer tokenizer = open(Scored());
  EXPECT_EQ(tokenizer.encode("a\u00e9b", plain), (Tokens{259, 3 + 0xC3, 3 + 0xA9, 260}));
  EXPECT_EQ(tokenizer.encode("\u20ac\xE2\x82", plain), (Tokens{264, 3 + 0xE2, 3 + 0x82}));
  EXPECT_EQ(tokenizer.piece(3 + 0xC3), "\xC3");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(" a\u00e9 \u2581", plain)), " a\u00e9 \u2581");
}

TEST(BestPath, PiecesThatEndInsideACharacterLeadNowhere) {
  Scored vocabulary;
  vocabulary.add("a\xE2\x82", 100);
  EXPECT_EQ(open(vocabulary).encode("a\u20ac", plain), (Tokens{259, 264}));
}

TEST(BestPath, ControlTokensAndForbiddenPiecesAreNotReached) {
  Scored vocabulary;
  vocabulary.add("xy", -3000);
  const Token end = vocabulary.add("<|plamo:op|>", 0, 3);
  const Tokenizer tokenizer = open(vocabulary);
  EXPECT_EQ(tokenizer.encode("xy", plain), (Tokens{3 + 'x', 3 + 'y'}));
  EXPECT_GT(tokenizer.encode("<|plamo:op|>", plain).size(), 1u);
  EXPECT_EQ(tokenizer.encode("<|plamo:op|>"), (Tokens{end}));
}

TEST(BestPath, BosIsAddedWhereTheFileAsksForIt) {
  Scored vocabulary;
  EXPECT_EQ(open(vocabulary).encode("a"), (Tokens{259}));
  vocabulary.flags = {{"add_bos_token", true}};
  EXPECT_EQ(open(vocabulary).encode("a"), (Tokens{1, 259}));
}

TEST(BestPath, AMegabyteTakesSecondsAtMost) {
  Scored vocabulary;
  vocabulary.add(std::string(64, 'a'), -1);
  const Tokenizer tokenizer = open(vocabulary);
  const double start = seconds();
  const std::string text = repeated("a", 1'000'000) + "b";
  EXPECT_EQ(joined(tokenizer, tokenizer.encode(text, plain)) == text, true);
  EXPECT_LT(seconds() - start, 20);  // 64 steps for each byte; quadratic work is 10^12
}

TEST(BestPath, TwoTokensOfOneSpellingAreRefused) {
  Scored vocabulary;
  vocabulary.add("ab", -1);
  const auto tokenizer = open_bytes(vocabulary.writer());
  ASSERT_FALSE(tokenizer);
  EXPECT_NE(tokenizer.error().message.find("tokens 261 and 265 have the same spelling 'ab'"),
            std::string::npos)
      << tokenizer.error().message;
}

}  // namespace
}  // namespace assay::text
