// What is told of a text that became tokens, and of a template whose turns nothing ends.
#include "text/notes.h"

#include <gmock/gmock.h>

#include "text/chat_prompt.h"
#include "text/support.h"
#include "text/turn_end.h"

namespace assay::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

template <class Vocabulary>
std::vector<std::string> notes(const Vocabulary& vocabulary, const std::string& text,
                               const EncodeOptions& options = {}) {
  const Tokenizer tokenizer = open(vocabulary);
  return notes_on(tokenizer, text, tokenizer.encode_counting(text, options));
}

TEST(Notes, OrdinaryTextHasNone) {
  EXPECT_THAT(notes(HandMade(), "a b\n\u00e9\U0001F600"), IsEmpty());
  EXPECT_THAT(notes(HandMade(), ""), IsEmpty());
  EXPECT_THAT(notes(HandMadePieces(), "a b\n\u00e9\U0001F600"), IsEmpty());
}

TEST(Notes, BytesWithoutATokenAreCountedAndNamed) {
  HandMade vocabulary;
  vocabulary.tokens[4] = "xx", vocabulary.tokens[0xC3] = "yy";
  EXPECT_THAT(notes(vocabulary, "a\x04z\x04\u00e9"),
              ElementsAre("3 of 6 bytes have no token in this vocabulary and were left out (04, "
                          "C3)"));
}

TEST(Notes, SentencePiecesCountWhatBecameTheUnknownToken) {
  HandMadePieces vocabulary;
  vocabulary.types[HandMadePieces::byte(0xC3)] = 1;
  EXPECT_THAT(notes(vocabulary, "a\u00e9"),
              ElementsAre(HasSubstr("2 of 3 bytes have no token in this vocabulary and became the "
                                    "unknown token (A9, C3)")));
}

TEST(Notes, OtherEncodingsAreRecognised) {
  using namespace std::string_literals;
  for (const std::string& text :
       {"\xFF\xFEh\0i\0"s, "\xFE\xFF\0h\0i"s, "h\0i\0 \0t\0h\0"s, "\0h\0i"s})
    EXPECT_THAT(notes(HandMade(), text), ElementsAre(HasSubstr("looks like UTF-16"))) << text;
  EXPECT_THAT(notes(HandMade(), "a\0bcdefgh"s), IsEmpty());
  EXPECT_THAT(notes(HandMade(), "\xEF\xBB\xBFhi"), ElementsAre(HasSubstr("bytes EF BB BF")));
  EXPECT_THAT(notes(HandMade(), "caf\xE9 \xE9"),
              ElementsAre(HasSubstr("2 bytes of the text are not UTF-8 (the first is E9, at offset "
                                    "3); the model sees each as a byte")));
}

TEST(Notes, ASecondBosIsSeen) {
  HandMade vocabulary;
  const Token bos = vocabulary.add("<s>", 3);
  vocabulary.ids = {{"bos_token_id", uint32_t(bos)}};
  vocabulary.flags = {{"add_bos_token", true}};
  EXPECT_THAT(notes(vocabulary, "<s>a"), ElementsAre(HasSubstr("two beginning-of-sequence tokens "
                                                               "'<s>'")));
  EXPECT_THAT(notes(vocabulary, "a<s>"), IsEmpty());
  EXPECT_THAT(notes(vocabulary, "<s>a", {.add_bos = false}), IsEmpty());
  EXPECT_THAT(notes(vocabulary, "a<s>", {.add_bos = false}), IsEmpty());
  EXPECT_THAT(notes(vocabulary, "<s>a", {.parse_special = false}), IsEmpty());
}

/// What unknown_turn_end says of a template that puts `after` behind each answer.
std::string end_of_turn(const std::string& after) {
  HandMade vocabulary;
  vocabulary.ids = {{"eos_token_id", uint32_t(vocabulary.add("<end>", 3))}};
  vocabulary.add("<turn>", 3);
  const auto chat =
      ChatTemplate::compile("{% for m in messages %}{{ m.content }}" + after + "{% endfor %}", {});
  EXPECT_TRUE(chat);
  return unknown_turn_end(open(vocabulary), *chat);
}

TEST(TurnEnd, IsNamedWhereNothingEndsGenerationThere) {
  EXPECT_EQ(end_of_turn("<end>\n"), "");
  EXPECT_EQ(end_of_turn("\n<end>"), "");
  EXPECT_EQ(end_of_turn("<turn>\n"), "<turn>");
  EXPECT_EQ(end_of_turn("<|im_end|>\n"), "<|im_end|>") << "text in this vocabulary";
  EXPECT_EQ(end_of_turn(""), "");
  EXPECT_EQ(end_of_turn("\n"), "");
  EXPECT_EQ(end_of_turn("< 3"), "");
  EXPECT_EQ(end_of_turn("{{ raise_exception('no') }}"), "");
}

TEST(ChatPrompt, ManySpellingsOfSpecialTokensTakeTimeInProportion) {
  HandMade vocabulary;
  vocabulary.add("<|im_end|>", 3);
  const std::string text = repeated("<|im_end|>", 4'000'000);
  const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", text}}};
  const auto chat = ChatTemplate::compile("{{ messages[0].content }}", {});
  ASSERT_TRUE(chat);
  const Tokenizer tokenizer = open(vocabulary);
  const double start = seconds();
  const auto tokens = encode_chat(tokenizer, *chat, messages);
  ASSERT_TRUE(tokens) << tokens.error().message;
  EXPECT_EQ(tokens->size(), text.size());  // plain letters, which this vocabulary doesn't merge
  // 400,000 spellings × 4 MB moved for each would be 10^12 bytes, minutes.
  EXPECT_LT(seconds() - start, 20);
}

TEST(Tokenizer, AnAbsurdlyLongTokenOfSpacesOpensInProportionToItsLength) {
  HandMadePieces vocabulary;
  const Token token = vocabulary.add(repeated("\u2581", 3'000'000), 0);
  const double start = seconds();
  const Tokenizer tokenizer = open(vocabulary);
  EXPECT_EQ(tokenizer.piece(token).size(), 1'000'000u);
  EXPECT_LT(seconds() - start, 20);
}

}  // namespace
}  // namespace assay::text
