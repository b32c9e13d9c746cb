// Thoughts, what is said, and the marks between them, however the answer is cut into parts.
#include "run/answer.h"

#include <gtest/gtest.h>

namespace assay::run {
namespace {

using Json = nlohmann::ordered_json;
using Parts = std::vector<TextPart>;

TextPart control(const std::string& text) {
  return {text, true, false};
}

/// "t{…}" for thoughts, "m{…}" for marks, the answer as it is.
std::string heard(const Parts& parts, bool begins_with_thoughts = false, bool by_letters = false) {
  AnswerReader reader(begins_with_thoughts);
  std::string out;
  Voice now = Voice::answer;
  const auto hear = [&](const std::vector<Said>& said) {
    for (const auto& [part, voice] : said) {
      if (voice != now && now != Voice::answer) out += "}";
      if (voice != now && voice != Voice::answer) out += voice == Voice::mark ? "m{" : "t{";
      now = voice;
      out += part.text;
    }
  };
  for (const TextPart& part : parts) {
    if (!by_letters) hear(reader.add(part));
    for (size_t i = 0; by_letters && i < part.text.size(); ++i)
      hear(reader.add({part.text.substr(i, 1), part.control, part.shown}));
  }
  hear(reader.finish());
  return out + (now == Voice::answer ? "" : "}");
}

const Parts harmony = {control("<|channel|>"),
                       {"analysis"},
                       control("<|message|>"),
                       {"hm"},
                       control("<|end|>"),
                       control("<|start|>"),
                       {"assistant"},
                       control("<|channel|>"),
                       {"final"},
                       control("<|message|>"),
                       {"yes"}};

TEST(AnswerReader, MarksOfLettersAreThoughtsAndOfControlTokensMarks) {
  EXPECT_EQ(heard({{"a<think>b</think>c"}}), "at{<think>b</think>}c");
  EXPECT_EQ(heard({control("[THINK]"), {"b"}, control("[/THINK]"), {"c"}}),
            "m{[THINK]}t{b}m{[/THINK]}c");
  EXPECT_EQ(heard({{"b</think>c"}}, true), "t{b</think>}c");
  EXPECT_EQ(heard({{"a</think>b"}}), "a</think>b");  // no thoughts to end
  EXPECT_EQ(heard({{"<|channel>thought\nb<channel|>c"}}), "t{<|channel>thought\nb<channel|>}c");
  EXPECT_EQ(heard({{"a <thi"}}), "a <thi");
}

TEST(AnswerReader, OfHarmonyOnlyTheFinalChannelIsSaid) {
  const std::string expected =
      "m{<|channel|>analysis<|message|>}t{hm}m{<|end|><|start|>assistant<|channel|>final<|message|>"
      "}"
      "yes";
  EXPECT_EQ(heard(harmony), expected);
  EXPECT_EQ(heard(harmony, false, true), expected);
  EXPECT_EQ(heard({control("<|channel|>"),
                   {"commentary to=functions.f "},
                   control("<|constrain|>"),
                   {"json"},
                   control("<|message|>"),
                   {"{}"}}),
            "m{<|channel|>commentary to=functions.f <|constrain|>json<|message|>}t{{}}");
  EXPECT_EQ(heard({control("<|message|>"), {"yes"}}),
            "m{<|message|>}yes");  // of <|start|>assistant
}

TEST(AnswerReader, LettersThatSpellAFrameAreNone) {
  EXPECT_EQ(heard({{"say <|channel|>analysis<|message|>x"}}),
            "say <|channel|>analysis<|message|>x");
  EXPECT_EQ(heard({{"<|chan"}, control("nel|>"), {"x"}}), "<|channel|>x");
}

TEST(AnswerReader, SolarOpensMessages) {
  EXPECT_EQ(heard({control("<|think|>"),
                   {"hm"},
                   control("<|end|>"),
                   control("<|begin|>"),
                   {"assistant"},
                   control("<|content|>"),
                   {"yes"}}),
            "m{<|think|>}t{hm}m{<|end|><|begin|>assistant<|content|>}yes");
}

TEST(AnswerReader, APromptMayBeginTheThoughts) {
  for (const char* end : {"<|assistant|><think>\n", "[THINK]", "<|channel|>analysis<|message|>",
                          "<|channel>thought\n", "<|START_THINKING|> \n"})
    EXPECT_TRUE(opens_thoughts(end)) << end;
  for (const char* end :
       {"", "\n", "<think>\n\n</think>\n\n", "<|channel>thought\n<channel|>", "<|start|>assistant"})
    EXPECT_FALSE(opens_thoughts(end)) << end;
}

/// The message of parts, whose control tokens stand where they stand in the raw text.
Json message(const Parts& parts, bool begins_with_thoughts = false) {
  std::string raw;
  std::vector<text::Span> controls;
  for (const TextPart& part : parts) {
    if (part.control) controls.push_back({raw.size(), raw.size() + part.text.size()});
    raw += part.text;
  }
  return answer_message(raw, controls, begins_with_thoughts);
}

TEST(AnswerMessage, HasThoughtsApartWhereTheTemplateWantsThem) {
  EXPECT_EQ(message(harmony),
            Json({{"role", "assistant"}, {"content", "yes"}, {"thinking", "hm"}}));
  EXPECT_EQ(message({{"hm"},
                     control("<|END_THINKING|>"),
                     control("<|START_TEXT|>"),
                     {"yes"},
                     control("<|END_TEXT|>")},
                    true),
            Json({{"role", "assistant"}, {"content", "yes"}, {"reasoning_content", "hm"}}));
  EXPECT_EQ(
      message({control("<|channel|>"),
               {"final"},
               control("<|message|>"),
               {"y"},
               control("<|x|>"),
               {"es"}}),
      Json({{"role", "assistant"}, {"content", "y<|x|>es"}, {"control_tokens", {Json({1, 6})}}}));
}

TEST(AnswerMessage, IsTheRawTextWhereTheTemplateFindsTheThoughts) {
  EXPECT_EQ(message({control("[THINK]"), {"hm"}, control("[/THINK]"), {"yes"}}),
            Json({{"role", "assistant"},
                  {"content", "[THINK]hm[/THINK]yes"},
                  {"control_tokens", {Json({0, 7}), Json({9, 17})}}}));
  EXPECT_EQ(message({{"<think>hm</think>yes"}}),
            Json({{"role", "assistant"}, {"content", "<think>hm</think>yes"}}));
}

TEST(AnswerMessage, CutInTheThoughtsItHasNoContent) {
  EXPECT_EQ(message({harmony.begin(), harmony.begin() + 4}),
            Json({{"role", "assistant"}, {"content", ""}, {"thinking", "hm"}}));
  EXPECT_EQ(message({control("<|channel|>"), {"anal"}}),
            Json({{"role", "assistant"},
                  {"content", "<|channel|>anal"},
                  {"control_tokens", {Json({0, 11})}}}));
}

}  // namespace
}  // namespace assay::run
