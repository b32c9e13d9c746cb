// What a conversation keeps, drops, saves and refuses to load.
#include "run/conversation.h"
#include "support/scratch.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

using assay::run::Conversation;
using assay::run::load_conversation;

namespace {

/// The test's only file, with another text at each call.
std::string file_with(const std::string& text) {
  static const assay::tests::Scratch scratch;
  const auto path = scratch.path / "conversation.json";
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
  return path;
}

Conversation talk() {
  Conversation conversation;
  conversation.model = "m.gguf";
  conversation.add("user", "one");
  conversation.add("assistant", "two");
  return conversation;
}

TEST(Conversation, TheSystemMessageIsFirstAndOnlyOne) {
  Conversation conversation = talk();
  conversation.set_system("short");
  conversation.set_system("long");
  ASSERT_EQ(conversation.messages.size(), 3u);
  ASSERT_TRUE(conversation.messages[0].is_object());
  EXPECT_EQ(conversation.messages[0]["content"], "long");
  EXPECT_EQ(conversation.system(), "long");
  conversation.set_system("");
  EXPECT_EQ(conversation.messages, talk().messages);
}

TEST(Conversation, DroppingTheAnswerKeepsTheQuestion) {
  Conversation conversation = talk();
  EXPECT_TRUE(conversation.drop_answer());
  EXPECT_EQ(conversation.last_role(), "user");
  EXPECT_TRUE(conversation.drop_answer()) << "a question without an answer may be asked again";
  Conversation none;
  none.set_system("x");
  EXPECT_FALSE(none.drop_answer());
  EXPECT_EQ(none.system(), "x");
}

TEST(Conversation, WhatIsSavedComesBack) {
  Conversation conversation = talk();
  conversation.set_system("be \"brief\"\n\x01 \xC3\xA9 \xF0\x9F\x98\x80");
  const std::string path = file_with("");
  ASSERT_TRUE(save(conversation, path));
  const auto loaded = load_conversation(path);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->messages, conversation.messages);
  EXPECT_EQ(loaded->model, "m.gguf");
}

TEST(Conversation, BytesThatAreNotUtf8ComeBackAndOthersReadReplacementCharacters) {
  Conversation conversation;
  conversation.add("user", "a\xFFz\xC3");
  const std::string path = file_with("");
  ASSERT_TRUE(save(conversation, path));
  const auto loaded = load_conversation(path);
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->messages, conversation.messages);
  auto json = nlohmann::ordered_json::parse(to_text(conversation));
  EXPECT_EQ(json["messages"][0]["content"], "a\xEF\xBF\xBDz\xEF\xBF\xBD");
  // Who edits the content means the new one.
  json["messages"][0]["content"] = "b";
  const auto edited = load_conversation(file_with(json.dump()));
  ASSERT_TRUE(edited);
  EXPECT_EQ(edited->messages[0]["content"], "b");
}

TEST(Conversation, WhatAFileSaysBesidesRoleAndContentIsKept) {
  const std::string text = R"({
  "schema": "assay.chat/1",
  "model": "m.gguf",
  "title": "weather",
  "messages": [
    {
      "role": "user",
      "content": [
        {
          "type": "text",
          "text": "Is it raining?"
        }
      ]
    },
    {
      "role": "assistant",
      "content": null,
      "reasoning_content": "I should look.",
      "tool_calls": [
        {
          "function": {
            "name": "look",
            "arguments": "{}"
          }
        }
      ]
    },
    {
      "role": "tool",
      "content": "yes",
      "mine": 1.5
    }
  ]
}
)";
  const auto loaded = load_conversation(file_with(text));
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(to_text(*loaded), text);
}

/// Three exchanges after a system message.
Conversation three() {
  Conversation conversation;
  conversation.set_system("s");
  for (const char* text : {"1", "2", "3"}) {
    conversation.add("user", text);
    conversation.add("assistant", "a");
  }
  return conversation;
}

TEST(Conversation, UndoTakesBackOneExchangeAfterTheOther) {
  Conversation conversation = three();
  for (const uint64_t left : {2, 1, 0}) {
    EXPECT_TRUE(conversation.undo());
    EXPECT_EQ(conversation.exchanges(), left);
  }
  EXPECT_FALSE(conversation.undo());
  EXPECT_EQ(conversation.system(), "s");
}

TEST(Conversation, WhatIsLeftOutStaysInTheFile) {
  Conversation conversation = three();
  conversation.left_out = 2;
  const auto shown = conversation.shown();
  ASSERT_EQ(shown.size(), 3u);
  EXPECT_EQ(shown[0]["content"], "s");
  EXPECT_EQ(shown[1]["content"], "3");
  const auto loaded = load_conversation(file_with(to_text(conversation)));
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->messages, conversation.messages);
  EXPECT_EQ(loaded->left_out, 2u);
  ASSERT_TRUE(conversation.undo() && conversation.undo());
  EXPECT_EQ(conversation.left_out, 1u) << "of one exchange two cannot be left out";
}

TEST(Conversation, FilesThatAreNoChatsAreRefusedWithASentence) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "not a JSON object"},
      {"{", "not a JSON object"},
      {"[]", "not a JSON object"},
      {std::string(100000, '['), "not a JSON object"},
      {"{}", "schema"},
      {R"({"schema": "assay.run/1", "messages": []})", "schema"},
      {R"({"schema": "assay.chat/1"})", "no list of messages"},
      {R"({"schema": "assay.chat/1", "messages": {}})", "no list of messages"},
      {R"({"schema": "assay.chat/1", "messages": [1]})", "message 1 needs a role"},
      {R"({"schema": "assay.chat/1", "messages": [{"role": "user"}]})", "message 1 needs"},
      {R"({"schema": "assay.chat/1", "messages": [{"role": "user", "content": 1}]})", "message 1"},
      {R"({"schema": "assay.chat/1", "messages": [{"role": "root", "content": ""}]})", "message 1"},
      {R"({"schema": "assay.chat/1", "messages": [{"role": "user", "content": ""},
           {"role": "system", "content": ""}]})",
       "message 2 is a system message"},
  };
  for (const auto& [text, sentence] : cases) {
    const auto loaded = load_conversation(file_with(text));
    ASSERT_FALSE(loaded) << text.substr(0, 80);
    EXPECT_NE(loaded.error().message.find(sentence), std::string::npos) << loaded.error().message;
  }
  EXPECT_FALSE(load_conversation("/no/such/file"));
  EXPECT_FALSE(load_conversation(std::filesystem::temp_directory_path()));
}

}  // namespace
