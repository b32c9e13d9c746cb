// A vocabulary small enough to derive every id by hand: bytes are their own ids, merges make 256,
// 257, …
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include "support.h"

namespace assay::text {
namespace {

using Tokens = std::vector<Token>;

/// 256 he, 257 ll, 258 hell, 259 hello, 260 bc, 261 ab, 262 " w" (the space is U+0120: C4 A0).
HandMade words() {
  HandMade vocabulary;
  vocabulary.merge("h", "e");
  vocabulary.merge("l", "l");
  vocabulary.merge("he", "ll");
  vocabulary.merge("hell", "o");
  vocabulary.merge("b", "c");
  vocabulary.merge("a", "b");
  vocabulary.merge("\u0120", "w");
  return vocabulary;
}

/// The words, and 263 <s> (control), 264 <tool> (user-defined), 265 <|im_end|> (control).
HandMade with_specials() {
  HandMade vocabulary = words();
  vocabulary.add("<s>", 3);
  vocabulary.add("<tool>", 4);
  vocabulary.add("<|im_end|>", 3);
  vocabulary.ids = {{"bos_token_id", 263}, {"eos_token_id", 265}};
  return vocabulary;
}

TEST(Tokenizer, MergesFollowTheirRanks) {
  const Tokenizer tokenizer = open(words());
  EXPECT_EQ(tokenizer.encode("hello"), (Tokens{259}));  // he·l·l·o, he·ll·o, hell·o, hello
  EXPECT_EQ(tokenizer.encode("helo"), (Tokens{256, 'l', 'o'}));
  EXPECT_EQ(tokenizer.encode("abc"), (Tokens{'a', 260}));  // b c has rank 4, a b rank 5
  EXPECT_EQ(tokenizer.encode("ab"), (Tokens{261}));
  EXPECT_EQ(tokenizer.encode("lll"), (Tokens{257, 'l'}));  // the leftmost of equal ranks
  EXPECT_EQ(tokenizer.encode("llll"), (Tokens{257, 257}));
  EXPECT_EQ(tokenizer.encode("hello world"), (Tokens{259, 262, 'o', 'r', 'l', 'd'}));
  EXPECT_EQ(tokenizer.encode(""), Tokens{});
}

TEST(Tokenizer, MergesStayInsidePreTokens) {
  HandMade vocabulary = words();
  vocabulary.merge("c", "\u0120");  // "c a" is cut before the space: never reached there
  const Tokenizer tokenizer = open(vocabulary);
  EXPECT_EQ(tokenizer.encode("c a"), (Tokens{'c', ' ', 'a'}));
}

TEST(Tokenizer, AMergeWithoutATokenFallsApartIntoBytes) {
  HandMade vocabulary = words();
  vocabulary.merges.push_back("x y");   // "xy" is no token …
  vocabulary.merges.push_back("xy z");  // … but a half of one
  const Token xyz = vocabulary.add("xyz");
  const Tokenizer tokenizer = open(vocabulary);
  EXPECT_EQ(tokenizer.encode("xyz"), (Tokens{xyz}));
  EXPECT_EQ(tokenizer.encode("axyb"), (Tokens{'a', 'x', 'y', 'b'}));
}

TEST(Tokenizer, OfTwoMergesOfOnePairTheFirstCounts) {
  HandMade vocabulary;
  const Token qr = vocabulary.merge("q", "r"), rs = vocabulary.merge("r", "s");
  vocabulary.merges.push_back("q r");  // rank 2; if it counted, r s (rank 1) would win in "qrs"
  const Tokenizer tokenizer = open(vocabulary);
  EXPECT_EQ(tokenizer.encode("qrs"), (Tokens{qr, 's'}));
  EXPECT_EQ(tokenizer.encode("rs"), (Tokens{rs}));
}

TEST(Tokenizer, LlamaBpeTakesAWholeVocabularyEntryWithoutMerges) {
  HandMade vocabulary = words();
  const Token entry = vocabulary.add("\u0120zap");  // no merge leads to it
  vocabulary.pre = "llama-bpe";
  EXPECT_EQ(open(vocabulary).encode(" zap zaps"), (Tokens{entry, ' ', 'z', 'a', 'p', 's'}));
  vocabulary.pre = "gpt-2";
  EXPECT_EQ(open(vocabulary).encode(" zap"), (Tokens{' ', 'z', 'a', 'p'}));
}

TEST(Tokenizer, DigitsMergeOnlyAsFarAsTheFamilyLets) {
  HandMade vocabulary;
  const Token d12 = vocabulary.merge("1", "2");
  const Token d123 = vocabulary.merge("12", "3");
  const Token d1234 = vocabulary.merge("123", "4");
  const std::vector<std::pair<std::string, Tokens>> expected = {{"gpt-2", {d1234}},
                                                                {"llama-bpe", {d123, '4'}},
                                                                {"smollm", {'1', '2', '3', '4'}},
                                                                {"qwen2", {'1', '2', '3', '4'}}};
  for (const auto& [pre, tokens] : expected) {
    vocabulary.pre = pre;
    EXPECT_EQ(open(vocabulary).encode("1234"), tokens) << pre;
  }
  vocabulary.pre = "llama-bpe";
  EXPECT_EQ(open(vocabulary).encode("12"), (Tokens{d12}));
}

TEST(Tokenizer, ControlTokensNeedParsingAndUserDefinedOnesDoNot) {
  const Tokenizer tokenizer = open(with_specials());
  const std::string text = "ab<tool><s>";
  EXPECT_EQ(tokenizer.encode(text), (Tokens{261, 264, 263}));
  EXPECT_EQ(tokenizer.encode(text, plain), (Tokens{261, 264, '<', 's', '>'}));
}

TEST(Tokenizer, OrdinaryTextNeverMergesIntoAControlToken) {
  for (const auto* pre : {"gpt-2", "llama-bpe"}) {  // by merges; as a whole entry
    HandMade vocabulary;
    vocabulary.pre = pre;
    vocabulary.merges = {"s y", "sy s"};
    const Token control = vocabulary.add("sys", 3);
    const Tokenizer tokenizer = open(vocabulary);
    EXPECT_EQ(tokenizer.encode("sys", plain), (Tokens{'s', 'y', 's'})) << pre;
    EXPECT_EQ(tokenizer.encode("sys"), (Tokens{control})) << pre;
  }
}

TEST(Tokenizer, BosFollowsTheFileThenTheFamily) {
  HandMade vocabulary = with_specials();
  EXPECT_FALSE(open(vocabulary).adds_bos());
  EXPECT_EQ(open(vocabulary).encode("ab"), (Tokens{261}));
  vocabulary.pre = "llama-bpe";
  EXPECT_TRUE(open(vocabulary).adds_bos());
  EXPECT_EQ(open(vocabulary).encode("ab"), (Tokens{263, 261}));
  EXPECT_EQ(open(vocabulary).encode("ab", {.add_bos = false}), (Tokens{261}));
  vocabulary.flags = {{"add_bos_token", false}};
  EXPECT_FALSE(open(vocabulary).adds_bos());
  vocabulary.pre = "gpt-2";
  vocabulary.flags = {{"add_bos_token", true}};
  EXPECT_EQ(open(vocabulary).encode(""), (Tokens{263}));
  vocabulary.pre = "llama-bpe";
  vocabulary.flags.clear();
  vocabulary.ids.clear();
  EXPECT_FALSE(open(vocabulary).adds_bos());
  EXPECT_EQ(open(vocabulary).bos(), -1);
}

TEST(Tokenizer, EosComesLastWhereTheFileAsksForIt) {
  HandMade vocabulary = with_specials();
  EXPECT_FALSE(open(vocabulary).adds_eos());
  vocabulary.flags = {{"add_eos_token", true}};
  const Tokenizer tokenizer = open(vocabulary);
  EXPECT_TRUE(tokenizer.adds_eos());
  EXPECT_EQ(tokenizer.encode("ab"), (Tokens{261, 265}));
  EXPECT_EQ(tokenizer.encode(""), (Tokens{265}));
  EXPECT_EQ(tokenizer.encode("ab", {.add_eos = false}), (Tokens{261}));
}

TEST(Tokenizer, AFileThatNamesNoPreTokenizerGetsTheDefaultOneAndSaysSo) {
  HandMade vocabulary = words();
  EXPECT_TRUE(open(vocabulary).names_pre_tokenizer());
  gguf::Writer writer;
  writer.add_string("tokenizer.ggml.model", "gpt2");
  writer.add_string_array("tokenizer.ggml.tokens", vocabulary.tokens);
  writer.add_string_array("tokenizer.ggml.merges", vocabulary.merges);
  const auto tokenizer = open_bytes(writer);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_FALSE(tokenizer->names_pre_tokenizer());
  EXPECT_EQ(tokenizer->pre_tokenizer(), "default");
  EXPECT_EQ(tokenizer->encode("hello"), (Tokens{259}));
}

TEST(Tokenizer, WhereTextIsPlainItsControlTokensAreLetters) {
  const Tokenizer tokenizer = open(with_specials());
  const std::string text = "<s>a<s>";
  const std::vector<Span> first = {{0, 3}}, both = {{0, 3}, {4, 7}};
  EXPECT_EQ(tokenizer.encode(text, {.plain = first}), (Tokens{'<', 's', '>', 'a', 263}));
  EXPECT_EQ(tokenizer.encode(text, {.plain = both}), tokenizer.encode(text, plain));
}

TEST(Tokenizer, FillInTheMiddleMarksAreControlTokensWhateverTheirType) {
  HandMade vocabulary;
  const Token prefix = vocabulary.add("<fim_prefix>", 1), padding = vocabulary.add("<fim_pad>", 1);
  const Tokenizer tokenizer = open(vocabulary);
  EXPECT_TRUE(tokenizer.is_control(prefix) && tokenizer.is_control(padding));
  EXPECT_FALSE(tokenizer.ends_generation(prefix));
  EXPECT_TRUE(tokenizer.ends_generation(padding));
  EXPECT_EQ(tokenizer.encode("<fim_prefix>"), (Tokens{prefix}));
  EXPECT_EQ(tokenizer.encode("<fim_prefix>", plain).size(), 12u);
}

TEST(Tokenizer, EmptySpellingsAndTypesThatDoNotExistAreHarmless) {
  HandMade vocabulary = words();
  const Token empty = vocabulary.add(""), other = vocabulary.add("", 3);
  const Token strange = vocabulary.add("zz", 99);
  vocabulary.merges.push_back("q never_a_token");
  const Tokenizer tokenizer = open(vocabulary);
  EXPECT_EQ(tokenizer.piece(empty), "");
  EXPECT_EQ(tokenizer.piece(other), "");
  EXPECT_EQ(tokenizer.piece(strange), "zz");
  EXPECT_EQ(tokenizer.encode("hello zz"), (Tokens{259, ' ', 'z', 'z'}));  // no merge leads to zz
}

TEST(Tokenizer, GenerationEndsAtTheNamedIdsAndTheKnownSpellings) {
  HandMade vocabulary = with_specials();
  const Token eot = vocabulary.add("stop here");
  const Token endoftext = vocabulary.add("<|endoftext|>", 1);
  const Token markup = vocabulary.add("</s>", 1);  // ordinary in qwen2
  vocabulary.ids = {
      {"eos_token_id", 'E'}, {"eot_token_id", static_cast<uint32_t>(eot)}, {"eom_token_id", 'M'}};
  const Tokenizer tokenizer = open(vocabulary);
  for (const Token token : {Token{'E'}, eot, Token{'M'}, Token{265}, endoftext}) {
    EXPECT_TRUE(tokenizer.ends_generation(token)) << token;
  }
  for (const Token token : {markup, Token{263}, Token{264}, Token{'a'}, Token{-1}}) {
    EXPECT_FALSE(tokenizer.ends_generation(token)) << token;
  }
  EXPECT_TRUE(tokenizer.is_control(endoftext));  // whatever type the file gives it
  EXPECT_EQ(tokenizer.eos(), 'E');
}

TEST(Tokenizer, AnSClosingTagOfSpecialTypeEndsGeneration) {
  HandMade vocabulary;
  const Token close = vocabulary.add("</s>", 3);
  EXPECT_TRUE(open(vocabulary).ends_generation(close));
}

TEST(Tokenizer, InTheHarmonyFormatEndOnlyEndsAMessage) {
  HandMade vocabulary;
  const Token end = vocabulary.add("<|end|>", 3);
  EXPECT_TRUE(open(vocabulary).ends_generation(end));
  const Token back = vocabulary.add("<|return|>", 3), call = vocabulary.add("<|call|>", 3);
  EXPECT_FALSE(open(vocabulary).ends_generation(end));
  EXPECT_TRUE(open(vocabulary).ends_generation(back));
  EXPECT_TRUE(open(vocabulary).ends_generation(call));
}

TEST(Tokenizer, SuppressedTokensAreThoseOfTheVocabulary) {
  gguf::Writer writer = words().writer();
  const std::vector<int32_t> ids = {5, 1000, -1, 262};
  writer.add_i32_array("tokenizer.ggml.suppress_tokens", ids);
  const auto tokenizer = open_bytes(writer);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->suppressed(), (Tokens{5, 262}));
  EXPECT_EQ(open(words()).suppressed(), Tokens());
}

TEST(Tokenizer, FramesAreControlTokensThatAnswersShow) {
  HandMade vocabulary;
  const Token end = vocabulary.add("<|end|>", 4), channel = vocabulary.add("<|channel|>", 1);
  EXPECT_FALSE(open(vocabulary).is_frame(end) || open(vocabulary).is_frame(channel));
  const Token flush = vocabulary.add("<|flush|>", 3);
  vocabulary.add("<|calls|>", 3);
  vocabulary.ids = {{"eot_token_id", static_cast<uint32_t>(end)}};  // some files say so
  const Tokenizer tokenizer = open(vocabulary);
  for (const Token token : {end, channel}) {
    EXPECT_TRUE(tokenizer.is_frame(token) && tokenizer.is_control(token)) << token;
    EXPECT_FALSE(tokenizer.ends_generation(token)) << token;
  }
  EXPECT_FALSE(tokenizer.is_frame(flush));
  EXPECT_TRUE(tokenizer.ends_generation(flush));
  EXPECT_EQ(tokenizer.encode("<|end|>"), (Tokens{end}));
  EXPECT_EQ(tokenizer.encode("<|end|>", plain).size(), 7u);  // a person's spelling ends nothing
}

TEST(Tokenizer, PiecesAreBytesAndSpecialPiecesTheirSpelling) {
  const Tokenizer tokenizer = open(with_specials());
  EXPECT_EQ(tokenizer.piece(262), " w");
  EXPECT_EQ(tokenizer.spelling(262), "\u0120w");
  EXPECT_EQ(tokenizer.piece(0xFF), "\xFF");
  EXPECT_EQ(tokenizer.piece(263), "<s>");
  EXPECT_EQ(tokenizer.piece(266), "");
  EXPECT_EQ(tokenizer.piece(-1), "");
  EXPECT_EQ(tokenizer.spelling(266), "");
  EXPECT_TRUE(tokenizer.is_control(263));
  EXPECT_FALSE(tokenizer.is_control(264));
  EXPECT_FALSE(tokenizer.is_control(266));
  EXPECT_EQ(tokenizer.vocabulary_size(), 266u);
  EXPECT_EQ(tokenizer.model(), "gpt2");
  EXPECT_EQ(tokenizer.pre_tokenizer(), "gpt-2");
}

TEST(Tokenizer, AUserDefinedTokenIsSpelledInTextNotInLetters) {
  HandMade vocabulary;
  const Token letters = vocabulary.merge("\u0120", "\u0120");
  const Token raw = vocabulary.add("    ", 4);
  const Tokenizer tokenizer = open(vocabulary);
  EXPECT_EQ(tokenizer.piece(raw), "    ");
  EXPECT_EQ(tokenizer.encode("      ", plain), (Tokens{raw, letters}));
}

TEST(Tokenizer, BytesWithoutATokenAreLeftOut) {
  HandMade vocabulary;
  vocabulary.tokens[4] = "other";  // the letter of byte 4 goes, as from SmolLM2
  EXPECT_EQ(open(vocabulary).encode("a\x04z"), (Tokens{'a', 'z'}));
}

}  // namespace
}  // namespace assay::text
