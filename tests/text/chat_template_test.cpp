#include "text/chat_template.h"

#include <gtest/gtest.h>

#include "gguf/writer.h"

namespace assay::text {
namespace {

using Json = nlohmann::ordered_json;

/// A file with the tokens <unk>, <s>, </s> and these templates.
struct Made {
  Made(std::initializer_list<std::pair<std::string_view, std::string_view>> templates) {
    gguf::Writer writer;
    writer.add_string("general.architecture", "none of ours");
    writer.add_string("tokenizer.ggml.model", "llama");
    writer.add_string_array("tokenizer.ggml.tokens",
                            std::vector<std::string>{"<unk>", "<s>", "</s>"});
    writer.add_u32("tokenizer.ggml.bos_token_id", 1);
    writer.add_u32("tokenizer.ggml.eos_token_id", 2);
    for (const auto& [key, source] : templates) writer.add_string(key, source);
    bytes = writer.bytes();
  }
  gguf::File file() const { return std::move(*gguf::File::parse(bytes, "made.gguf")); }
  std::vector<uint8_t> bytes;
};

const Json hello = {{{"role", "user"}, {"content", "Hi"}}};

std::string rendered(const std::string& source, const Json& messages = hello,
                     const ChatOptions& options = {}) {
  const auto chat = ChatTemplate::compile(source, {{"bos_token", "<s>"}});
  if (!chat) return "error: " + chat.error().message;
  const auto text = chat->render(messages, options);
  return text ? text->text : "error: " + text.error().message;
}

TEST(ChatTemplate, ComesFromTheFileWithItsTokens) {
  const Made made{{"tokenizer.chat_template",
                   "{{ bos_token }}{{ messages[0].role }}: {{ messages[0].content }}{{ eos_token }}"
                   "{% if add_generation_prompt %}>{% endif %}{{ pad_token is defined }}"}};
  const auto chat = ChatTemplate::open(made.file());
  ASSERT_TRUE(chat) << chat.error().message;
  EXPECT_EQ(chat->render(hello)->text, "<s>user: Hi</s>>False");
  ChatOptions silent;
  silent.add_generation_prompt = false;
  EXPECT_EQ(chat->render(hello, silent)->text, "<s>user: Hi</s>False");
  EXPECT_EQ(chat->token("eos_token"), "</s>");
}

TEST(ChatTemplate, SaysWhetherItWroteBos) {
  const auto chat = ChatTemplate::compile("{{ bos_token }}x", {{"bos_token", "<s>"}});
  ASSERT_TRUE(chat);
  EXPECT_TRUE(chat->begins_with_bos(chat->render(hello)->text));
  EXPECT_FALSE(chat->begins_with_bos("x<s>"));
  const auto without = ChatTemplate::compile("x", {});
  ASSERT_TRUE(without);
  EXPECT_FALSE(without->begins_with_bos("x"));
}

TEST(ChatTemplate, IsPickedByName) {
  const Made made{{"tokenizer.chat_template", "plain"},
                  {"tokenizer.chat_template.tool_use", "tools"},
                  {"tokenizer.chat_template.rag", "rag"}};
  EXPECT_EQ(ChatTemplate::names(made.file()), (std::vector<std::string>{"tool_use", "rag"}));
  EXPECT_EQ(ChatTemplate::open(made.file(), "tool_use")->render(hello)->text, "tools");
  EXPECT_EQ(ChatTemplate::open(made.file())->render(hello)->text, "plain");
  const auto absent = ChatTemplate::open(made.file(), "vision");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().message,
            "made.gguf: the file has no chat template named 'vision'; its named templates are: "
            "tool_use, rag");
}

TEST(ChatTemplate, ErrorsNameTheFileAndTheLine) {
  EXPECT_EQ(ChatTemplate::open(Made{}.file()).error().message,
            "made.gguf: the file has no chat template");
  EXPECT_EQ(
      ChatTemplate::open(Made{{"tokenizer.chat_template", "a\n{% bad %}"}}.file()).error().message,
      "made.gguf: the chat template can't be used: line 2, column 4: unknown tag 'bad'");
  EXPECT_EQ(rendered("\n{{ raise_exception('no') }}"),
            "error: line 2, column 19: the template refuses: no");
  EXPECT_EQ(rendered("", Json::object()), "error: the messages of a chat must be an array");
}

TEST(ChatTemplate, GivesToolsExtrasAndTheDate) {
  ChatOptions options;
  options.tools = {{{"name", "f"}}};
  options.extra = {{"enable_thinking", false}};
  options.now = jinja::parse_date("2024-07-26");
  EXPECT_EQ(rendered("{{ tools | tojson }} {{ enable_thinking }} {{ strftime_now('%d %b') }}",
                     hello, options),
            "[{\"name\": \"f\"}] False 26 Jul");
  EXPECT_EQ(
      rendered("{{ tools is none }} {{ documents is none }} {{ enable_thinking is defined }}"),
      "True True False");
}

TEST(ChatTemplate, ArgumentsOfCallsAreObjectsUnlessTheTemplateWantsText) {
  const Json call = {
      {{"role", "assistant"},
       {"tool_calls", {{{"function", {{"name", "f"}, {"arguments", "{\"x\": [1]}"}}}}}}}};
  const std::string path = "messages[0].tool_calls[0].function.arguments";
  EXPECT_EQ(rendered("{{ " + path + ".x[0] }} {{ " + path + " | tojson }}", call),
            "1 {\"x\": [1]}");
  // A string and an object can't be added: the text is given as it came.
  EXPECT_EQ(rendered("{{ 'args: ' + " + path + " }}", call), "args: {\"x\": [1]}");
  Json odd = call;
  odd[0]["tool_calls"][0]["function"]["arguments"] = "not JSON";
  EXPECT_EQ(rendered("{{ " + path + " }}", odd), "not JSON");
}

TEST(ChatTemplate, AFileThatHoldsTheNameOfATemplateGetsIt) {
  const auto chat = ChatTemplate::open(Made{{"tokenizer.chat_template", "chatml"}}.file());
  ASSERT_TRUE(chat) << chat.error().message;
  EXPECT_EQ(chat->name(), "chatml");
  EXPECT_EQ(chat->render(hello)->text, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(ChatTemplate::open(Made{{"tokenizer.chat_template", "x"}}.file())->name(), "");
}

TEST(ChatTemplate, OthersGetTheTokensOfTheFile) {
  const Made made{{"tokenizer.chat_template", "x"}};
  EXPECT_EQ(ChatTemplate::open_other(made.file(), "{{ bos_token }}y")->render(hello)->text, "<s>y");
  EXPECT_EQ(ChatTemplate::open_other(made.file(), "zephyr")->render(hello)->text,
            "<|user|>\nHi<|endoftext|>\n<|assistant|>\n");
}

TEST(ChatTemplate, WithoutASystemMessageNotEvenTheTemplatesOwnIsWritten) {
  ChatOptions none;
  none.no_system = true;
  const std::string head = "{% if messages[0].role == 'system' %}",
                    rest =
                        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}"
                        "{% endif %}{% endfor %}";
  const std::string kind =
      head + "<sys>{{ messages[0].content }}{% else %}<sys>Be kind.{% endif %}";
  EXPECT_EQ(rendered(kind + rest), "<sys>Be kind.Hi");
  EXPECT_EQ(rendered(kind + rest, hello, none), "<sys>Hi");
  // An empty message counts as none for this template.
  const std::string truth =
      "{% set s = messages[0].content if messages[0].role == 'system' %}"
      "<sys>{{ s or 'Be kind.' }}";
  EXPECT_EQ(rendered(truth + rest, hello, none), "<sys>Hi");
  const std::string without = head +
                              "{% if messages[0].content %}<sys>{{ messages[0].content }}"
                              "{% endif %}{% endif %}";
  EXPECT_EQ(rendered(without + rest, hello, none), "Hi");
  const std::string refuses = head + "{{ raise_exception('no system') }}{% endif %}";
  EXPECT_EQ(rendered(refuses + rest, hello, none), "Hi");
  const Json own = {{{"role", "system"}, {"content", "Mine."}}, hello[0]};
  EXPECT_EQ(rendered(kind + rest, own, none), "<sys>Mine.Hi");
}

TEST(ChatTemplate, SaysWhichMessageItLeavesOut) {
  const auto chat = ChatTemplate::compile(
      "{% for m in messages %}{% if m.role == 'user' %}{{ m.content | upper }}{% endif %}"
      "{% endfor %}",
      {});
  const Json messages = {{{"role", "system"}, {"content", "Be kind."}},
                         {{"role", "user"}, {"content", "be kind."}},
                         {{"role", "system"}, {"content", " "}}};
  EXPECT_TRUE(chat->leaves_out(messages, 0));
  EXPECT_FALSE(chat->leaves_out(messages, 1));
  EXPECT_FALSE(chat->leaves_out(messages, 2));  // it has no text
}

TEST(ChatTemplate, LargeIntegersInArgumentsStayWhatTheyAre) {
  const Json call = {
      {{"role", "assistant"},
       {"tool_calls",
        {{{"function", {{"name", "f"}, {"arguments", "{\"x\": 18446744073709551617}"}}}}}}}};
  EXPECT_EQ(rendered("{{ messages[0].tool_calls[0].function.arguments | tojson }}", call),
            "{\"x\": 18446744073709551617}");
}

}  // namespace
}  // namespace assay::text
