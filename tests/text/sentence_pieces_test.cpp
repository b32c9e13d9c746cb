// A `llama` vocabulary small enough to derive every id by hand: 0 <unk>, 1 <s>, 2 </s>, 3 + b the
// byte b, then what a test adds from 259 on.
#include "text/sentence_pieces.h"

#include <gtest/gtest.h>

#include <limits>

#include "support.h"

namespace assay::text {
namespace {

using Tokens = std::vector<Token>;
constexpr auto byte = HandMadePieces::byte;

/// Letters a b c, then ab, bc, abc, U+2581, U+2581 a: the better score goes first.
struct Letters : HandMadePieces {
  Token a = add("a", -10), b = add("b", -11), c = add("c", -12);
  Token ab = add("ab", -3), bc = add("bc", -2), abc = add("abc", -1);
  Token space = add("\u2581", -9), space_a = add("\u2581a", -4);
  Letters() { flags = {{"add_space_prefix", false}}; }
};

TEST(SentencePieces, TheBestScoreOfNeighboursJoinsFirst) {
  Letters letters;
  EXPECT_EQ(open(letters).encode("abc", plain), (Tokens{letters.abc}));  // a·bc, then abc
  EXPECT_EQ(open(letters).encode("abcb", plain), (Tokens{letters.abc, letters.b}));
  letters.types[letters.abc] = 3;  // text can't reach a control token: a·bc stays
  EXPECT_EQ(open(letters).encode("abc", plain), (Tokens{letters.a, letters.bc}));
  letters.scores[letters.ab] = -1.5f;
  EXPECT_EQ(open(letters).encode("abc", plain), (Tokens{letters.ab, letters.c}));
}

TEST(SentencePieces, OfEqualScoresTheLeftmostJoinsFirst) {
  HandMadePieces vocabulary;
  vocabulary.flags = {{"add_space_prefix", false}};
  const Token x = vocabulary.add("x", 0), xx = vocabulary.add("xx", -1);
  const Token xxxx = vocabulary.add("xxxx", -1);
  const Tokenizer tokenizer = open(vocabulary);
  EXPECT_EQ(tokenizer.encode("xxx", plain), (Tokens{xx, x}));
  EXPECT_EQ(tokenizer.encode("xxxxx", plain), (Tokens{xxxx, x}));
  EXPECT_EQ(tokenizer.encode("xxxxxx", plain), (Tokens{xxxx, xx}));
}

TEST(SentencePieces, AJoinMustItselfBeATokenSoDistantOnesAreNotReached) {
  HandMadePieces vocabulary;
  vocabulary.flags = {{"add_space_prefix", false}};
  vocabulary.add("xyz", 0);  // neither xy nor yz is a token
  EXPECT_EQ(open(vocabulary).encode("xyz", plain), (Tokens{byte('x'), byte('y'), byte('z')}));
}

TEST(SentencePieces, InfiniteScoresHaveTheirPlaceInTheOrder) {
  Letters letters;
  letters.scores[letters.bc] = -std::numeric_limits<float>::infinity();
  letters.types[letters.abc] = 3;
  EXPECT_EQ(open(letters).encode("abc", plain), (Tokens{letters.ab, letters.c}));
}

TEST(SentencePieces, SpacesAreSpelledU2581AndComeBackAsSpaces) {
  const Letters letters;
  const Tokenizer tokenizer = open(letters);
  const Tokens tokens = tokenizer.encode(" a b", plain);
  EXPECT_EQ(tokens, (Tokens{letters.space_a, letters.space, letters.b}));
  EXPECT_EQ(tokenizer.decode(tokens), " a b");
  EXPECT_EQ(tokenizer.piece(letters.space_a), " a");
  EXPECT_EQ(tokenizer.spelling(letters.space_a), "\u2581a");
  EXPECT_EQ(tokenizer.encode("\u2581a", plain), (Tokens{letters.space_a}));
}

TEST(SentencePieces, ASpaceGoesBeforeTextThatBeginsOrFollowsASpecialToken) {
  Letters letters;
  letters.flags.clear();  // add_space_prefix: true where the file is silent
  const Token user = letters.add("<tool>", 0, 4);
  const Tokenizer tokenizer = open(letters);
  EXPECT_TRUE(tokenizer.adds_space_prefix());
  EXPECT_EQ(tokenizer.encode("a"), (Tokens{1, letters.space_a}));
  EXPECT_EQ(tokenizer.encode("b<tool>a</s> a"),
            (Tokens{1, letters.space, letters.b, user, letters.space_a, 2, letters.space,
                    letters.space_a}));
  EXPECT_EQ(tokenizer.encode(""), (Tokens{1}));
  EXPECT_EQ(tokenizer.encode("", plain), Tokens{});
  EXPECT_EQ(tokenizer.encode("<tool>", plain), (Tokens{user}));
}

TEST(SentencePieces, DecodingTakesBackTheSpaceOfTheStartAndNoOther) {
  Letters letters;
  letters.flags.clear();
  const Tokenizer tokenizer = open(letters);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a b")), "a b");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("  a")), "  a");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a", plain)), "a");
  EXPECT_EQ(tokenizer.decode(Tokens{letters.b, letters.space_a}), "b a");
  EXPECT_EQ(tokenizer.decode(Tokens{}), "");
  EXPECT_EQ(tokenizer.piece(letters.space_a), " a");  // text that goes on keeps it
}

TEST(SentencePieces, CharactersWithoutATokenBecomeTheirBytes) {
  const Letters letters;
  const Tokenizer tokenizer = open(letters);
  const Tokens tokens = tokenizer.encode("a\u00e9\n\xFF", plain);
  EXPECT_EQ(tokens, (Tokens{letters.a, byte(0xC3), byte(0xA9), byte('\n'), byte(0xFF)}));
  EXPECT_EQ(tokenizer.decode(tokens), "a\u00e9\n\xFF");
  EXPECT_EQ(tokenizer.piece(byte(0xC3)), "\xC3");
}

TEST(SentencePieces, ACharacterWithAMissingByteTokenIsOneUnknownToken) {
  Letters letters;
  letters.tokens[byte(0xA9)] = "gone";
  letters.types[byte(0xA9)] = 1;
  EXPECT_EQ(open(letters).encode("a\u00e9\u00e8", plain),
            (Tokens{letters.a, 0, byte(0xC3), byte(0xA8)}));
}

TEST(SentencePieces, TextThatSpellsAByteOrAControlTokenIsText) {
  HandMadePieces vocabulary;
  vocabulary.flags = {{"add_space_prefix", false}};
  const Token open_mark = vocabulary.add("<", -1), s_mark = vocabulary.add("s>", -1);
  vocabulary.add("<0", -1);
  const Tokenizer tokenizer = open(vocabulary);
  EXPECT_EQ(tokenizer.encode("<s>", plain), (Tokens{open_mark, s_mark}));
  EXPECT_EQ(tokenizer.encode("<s>", {.add_bos = false}), (Tokens{1}));
  const Tokens tokens = tokenizer.encode("<0x0A>", plain);
  EXPECT_EQ(tokenizer.decode(tokens), "<0x0A>");
  EXPECT_EQ(tokens.front(), s_mark + 1);
}

TEST(SentencePieces, BosByDefaultEosOnDemand) {
  HandMadePieces vocabulary;
  EXPECT_TRUE(open(vocabulary).adds_bos());
  EXPECT_FALSE(open(vocabulary).adds_eos());
  EXPECT_EQ(open(vocabulary).bos(), 1);  // SentencePiece's ids, where the file names none
  EXPECT_EQ(open(vocabulary).eos(), 2);
  vocabulary.flags = {{"add_bos_token", false}, {"add_eos_token", true}};
  vocabulary.ids = {{"eos_token_id", 200}};
  EXPECT_EQ(open(vocabulary).encode(""), (Tokens{200}));
  EXPECT_TRUE(open(vocabulary).ends_generation(200));
  EXPECT_TRUE(open(vocabulary).ends_generation(2));  // </s>, a control token
}

TEST(SentencePieces, Phi3sNameMakesSpecialTokensTakeTheWhiteSpaceAfterThem) {
  Letters letters;
  letters.flags.clear();
  const Token user = letters.add("<|user|>", 0, 3);
  EXPECT_EQ(open(letters).encode("<|user|>\n a", {.add_bos = false}),
            (Tokens{user, letters.space, byte('\n'), letters.space_a}));
  for (const char* name : {"Phi3", "microsoft Phi-3.5 mini"}) {
    letters.name = name;
    const Tokenizer tokenizer = open(letters);
    EXPECT_EQ(tokenizer.encode("<|user|>\n a", {.add_bos = false}),
              (Tokens{user, letters.space_a}));
    EXPECT_EQ(tokenizer.encode("</s>\n", {.add_bos = false}), (Tokens{2}));
    EXPECT_EQ(tokenizer.encode("<s>\n", {.add_bos = false}),  // <s> alone takes none
              (Tokens{1, letters.space, byte('\n')}));
  }
}

TEST(SentencePieces, ByteSpellingsHaveTwoCapitalDigits) {
  EXPECT_EQ(byte_of_spelling("<0x00>"), 0);
  EXPECT_EQ(byte_of_spelling("<0x9F>"), 0x9F);
  EXPECT_EQ(byte_of_spelling("<0xFA>"), 0xFA);
  for (const char* spelling :
       {"<0x-1>", "<0x123>", "<0x0a>", "<0xG0>", "<0x1>", "<0x 1>", "[0x00>", "<0x00]", ""}) {
    EXPECT_EQ(byte_of_spelling(spelling), -1) << spelling;
  }
}

/// Every power of two of a letter, of the space and of a combining mark up to 64.
HandMadePieces doubling() {
  HandMadePieces vocabulary;
  for (std::string run : {"a", "\u2581", "\u0301", "7"}) {
    for (float score = -7; score < 0; ++score, run += run) vocabulary.add(run, score);
  }
  return vocabulary;
}

TEST(SentencePieces, EveryCodePointAndEveryPairOfBytesRoundTrips) {
  const Tokenizer tokenizer = open(doubling());
  std::string text = all_of_unicode();
  text.replace(text.find(space_letter), space_letter.size(), "x");  // U+2581 spells a space
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, plain)) == text, true);
  std::string pairs;
  for (int i = 0; i < 65536; ++i) pairs += {static_cast<char>(i >> 8), static_cast<char>(i), 'x'};
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(pairs, plain)) == pairs, true);
}

TEST(SentencePieces, AdversarialMegabytesTakeSecondsAtMost) {
  const Tokenizer tokenizer = open(doubling());
  for (const char* unit : {"a", " ", "\u0301", "7", "\n", "'", "\xFF", "a ", "\U0001f999", "<0x"}) {
    const std::string text = repeated(unit, 1'000'000);
    const double start = seconds();
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, plain)) == text, true) << unit;
    // n log n is some 10^7 steps; n² would be 10^12, at least minutes.
    EXPECT_LT(seconds() - start, 20) << unit;
  }
}

TEST(SentencePieces, AMegabyteOfOneLetterJoinsAsItsLengthSays) {
  HandMadePieces vocabulary = doubling();
  vocabulary.flags = {{"add_space_prefix", false}};
  // The longest has the best score (-1): wherever 32·2 letters meet they join at once, from the
  // left, so 1000003 letters are ⌊1000003/64⌋ = 15625 runs of 64 and 3 = 2 + 1.
  const auto tokens = open(vocabulary).encode(repeated("a", 1'000'003), plain);
  ASSERT_EQ(tokens.size(), 15625u + 2);
  EXPECT_EQ(tokens.front(), 259 + 6);
  EXPECT_EQ(tokens[15625], 259 + 1);
  EXPECT_EQ(tokens[15626], 259);
}

TEST(SentencePieces, AnAbsurdlyLongTokenCostsNothingButItsMemory) {
  HandMadePieces vocabulary = doubling();
  vocabulary.add(repeated("z", 1 << 20), 100);
  const Tokenizer tokenizer = open(vocabulary);
  const std::string text = repeated("z", 1'000'000);
  const double start = seconds();
  EXPECT_EQ(tokenizer.encode(text, plain).size(), 1u + 1'000'000);  // the space's, then bytes
  EXPECT_LT(seconds() - start, 20);
}

}  // namespace
}  // namespace assay::text
