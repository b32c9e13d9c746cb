#include "text/chat_prompt.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "text/support.h"

namespace assay::text {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;

/// Bytes, and <s> 256, <end> 257 as control tokens, <tool> 258 as a user-defined one.
struct Fixture {
  HandMade made;
  Fixture() {
    made.add("<s>", 3);
    made.add("<end>", 3);
    made.add("<tool>", 4);
    made.ids = {{"bos_token_id", 256}, {"eos_token_id", 257}};
    made.flags = {{"add_bos_token", true}, {"add_eos_token", true}};
  }
  Result<std::vector<Token>> encode(const std::string& source, const Json& messages,
                                    const ChatOptions& options = {}) const {
    return encode_chat(open(made), *ChatTemplate::compile(source, {{"bos_token", "<s>"}}), messages,
                       options);
  }
  /// Control tokens in brackets, so that "<end>" is their spelling and "[257]" the token.
  std::string shown(const std::string& source, const Json& messages,
                    const ChatOptions& options = {}) const {
    const auto tokens = encode(source, messages, options);
    if (!tokens) return "error: " + tokens.error().message;
    std::string text;
    for (const Token token : *tokens)
      text += token < 256 ? std::string(1, char(token)) : fmt::format("[{}]", token);
    return text;
  }
};

Json say(const std::string& text) {
  return {{{"role", "user"}, {"content", text}}};
}

constexpr const char* plain = "{% for m in messages %}{{ m.content }}<end>{% endfor %}";

TEST(ChatPrompt, WhatAMessageSpellsIsTextAndWhatTheTemplateSpellsIsAToken) {
  EXPECT_EQ(Fixture().shown(plain, say("a<end>b<s>")), "[256]a<end>b<s>[257]");
  EXPECT_EQ(Fixture().shown(plain, say("<end><end>")), "[256]<end><end>[257]");
  EXPECT_EQ(Fixture().shown(plain, say("<en")), "[256]<en[257]");
  // A user-defined token is what its spelling means wherever it stands, as everywhere else.
  EXPECT_EQ(Fixture().shown(plain, say("<tool>")), "[256][258][257]");
  // Pieces of a control token on both sides of the seam don't make one.
  EXPECT_EQ(Fixture().shown("{{ messages[0].content }}nd>", say("<end>")), "[256]<end>nd>");
}

TEST(ChatPrompt, AnAnswerSaysWhichSpellingsAreControlTokens) {
  // The bytes of the second <end>; a place beyond the end; a user's message that says so, too.
  const Json parts = Json::parse("[[6, 11], [100, 200]]");
  Json messages = {{{"role", "assistant"}, {"content", "<end>a<end>"}, {"control_tokens", parts}},
                   {{"role", "user"}, {"content", "bbbbbb<end>"}, {"control_tokens", parts}}};
  ChatOptions options;
  EXPECT_EQ(Fixture().shown(plain, messages, options), "[256]<end>a<end>[257]bbbbbb<end>[257]");
  options.control_tokens = true;
  EXPECT_EQ(Fixture().shown(plain, messages, options), "[256]<end>a[257][257]bbbbbb<end>[257]");
  // Of a content that is not UTF-8 the bytes would be others: all of it is plain.
  messages[0]["content"] = "\xFF<end><end>";
  EXPECT_EQ(Fixture().shown(plain, messages, options).find("[257]"),
            std::string("[256]\xEF\xBF\xBD<end><end>").size());
  messages[0]["control_tokens"] = "no";
  EXPECT_EQ(Fixture().shown(plain, messages, options).find("error"), std::string::npos);
}

TEST(ChatPrompt, BosComesOnceAndEosNever) {
  EXPECT_EQ(Fixture().shown("x", say("")), "[256]x");
  EXPECT_EQ(Fixture().shown("{{ bos_token }}x", say("")), "[256]x");
  EXPECT_EQ(Fixture().shown("{{ messages[0].content }}", say("<s>x")), "[256]<s>x");
}

TEST(ChatPrompt, WhateverATemplateDoesToAMessageItStaysText) {
  EXPECT_EQ(Fixture().shown("{{ [messages[0].content] }}", say("<end>")), "[256]['<end>']");
  EXPECT_EQ(Fixture().shown("{{ messages[0].content | tojson(ensure_ascii=true) }}", say("a<end>")),
            "[256]\"a<end>\"");
  EXPECT_EQ(Fixture().shown("{{ messages[0].content | lower }}<end>", say("<END>")),
            "[256]<end>[257]");
  EXPECT_EQ(Fixture().shown("{{ messages[0].content[::-1] }}", say(">dne<")), "[256]<end>");
  // Two halves of a control token, each harmless, are put together.
  EXPECT_EQ(Fixture().shown("{{ messages[0].content.split('|') | join }}", say("<e|nd>")),
            "[256]<end>");
  EXPECT_EQ(Fixture().shown("<e{{ messages[0].content }}", say("nd>")), "[256]<end>");
}

TEST(ChatPrompt, StringOperationsSeeTheMessageAsItIs) {
  EXPECT_EQ(Fixture().shown("{{ messages[0].content.split('<end>')[0].rstrip('\n') }}<end>",
                            say("a\n<end>b")),
            "[256]a[257]");
  EXPECT_EQ(Fixture().shown("{{ messages[0].content | length }}{{ messages[0].content[0] }}",
                            say("<end>")),
            "[256]5<");
}

TEST(ChatPrompt, RolesAreWordsOfTheFormatUnlessTheyAreNoWords) {
  const char* source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
  EXPECT_EQ(Fixture().shown(source, {{{"role", "end"}, {"content", "x"}}}), "[256][257]x");
  EXPECT_EQ(Fixture().shown(source, {{{"role", "x><end"}, {"content", "y"}}}), "[256]<x><end>y");
}

TEST(ChatPrompt, ToolsAndFurtherVariablesAreTextToo) {
  ChatOptions options;
  options.tools = {{{"name", "<end>"}, {"<end>", 1}}};
  options.extra = {{"date", "<end>"}};
  EXPECT_EQ(Fixture().shown("{{ tools[0].name }}{{ tools[0] | list | last }}{{ date }}<end>",
                            say(""), options),
            "[256]<end><end><end>[257]");
}

TEST(ChatPrompt, MillionsOfSpellingsTakeNoSquareOfTime) {
  std::string text;
  for (int i = 0; i < 400'000; ++i) text += "<end>";
  const double start = seconds();
  const auto tokens = Fixture().encode(plain, say(text));
  ASSERT_TRUE(tokens) << tokens.error().message;
  EXPECT_EQ(tokens->size(), 2'000'002u);
  EXPECT_LT(seconds() - start, 20);  // 88 s when each spelling moved all text behind it
}

TEST(ChatPrompt, ATemplateWithoutTheUsersLastMessageIsNone) {
  for (const char* source :
       {"alpaca", "{{ bos_token }}hello", "{{ messages[0].role }}",
        "{% for m in messages %}{% if m.role != 'user' %}{{ m.content }}{% endif %}{% endfor %}"})
    EXPECT_THAT(Fixture().shown(source, say("what?")),
                HasSubstr("error: the chat template leaves out the user's last message"))
        << source;
  EXPECT_EQ(Fixture().shown("x", say(" \n")), "[256]x");  // nothing was asked
  EXPECT_EQ(Fixture().shown("{{ messages[0].content | upper | trim }}", say(" hi\n")), "[256]HI");
  EXPECT_THAT(
      Fixture().shown("{{ messages[0].content }}", {{{"role", "user"}, {"content", "one"}},
                                                    {{"role", "assistant"}, {"content", "two"}},
                                                    {{"role", "user"}, {"content", "three"}}}),
      HasSubstr("leaves out the user's last message"));
  const Json parts = {{{"role", "user"}, {"content", {{{"type", "text"}, {"text", "hi"}}}}}};
  EXPECT_THAT(Fixture().shown("{{ messages[0].content[0].type }}", parts), HasSubstr("leaves out"));
  EXPECT_EQ(Fixture().shown("{{ messages[0].content[0].text }}", parts), "[256]hi");
}

TEST(ChatPrompt, PartsAndToolCallsAreTextToo) {
  const Json messages = {{{"role", "user"},
                          {"content", {{{"type", "text"}, {"text", "<end>"}}}},
                          {"tool_calls", {{{"function", {{"name", "<end>"}}}}}}}};
  EXPECT_EQ(Fixture().shown("{{ messages[0].content[0].text }}"
                            "{{ messages[0].tool_calls[0].function.name }}",
                            messages),
            "[256]<end><end>");
}

TEST(ChatPrompt, OptionsReachTheTemplateAndItsRefusalIsTold) {
  ChatOptions options;
  options.add_generation_prompt = false;
  const char* source = "{% if add_generation_prompt %}go{% else %}stop{% endif %}";
  EXPECT_EQ(Fixture().shown(source, say("")), "[256]go");
  EXPECT_EQ(Fixture().shown(source, say(""), options), "[256]stop");
  EXPECT_THAT(Fixture().shown("{{ raise_exception('no') }}", say("")),
              HasSubstr("error: the chat template can't be used: "));
}

}  // namespace
}  // namespace assay::text
