// The templates that go by a name, against what llama.cpp's llama_chat_apply_template writes
// (tests/text/make_named_templates.py).
#include "text/named_templates.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "text/chat_template.h"

namespace assay::text {
namespace {

using Json = nlohmann::ordered_json;

TEST(NamedTemplates, WriteWhatLlamaCppWrites) {
  std::ifstream file(std::string(ASSAY_SOURCE_DIR) + "/tests/data/named_templates.json");
  const Json cases = Json::parse(file);
  std::set<std::string> seen;
  for (const Json& each : cases) {
    const std::string name = each["name"];
    seen.insert(name);
    const auto source = named_template(name);
    ASSERT_TRUE(source) << name;
    const auto chat = ChatTemplate::compile(*source, {});
    ASSERT_TRUE(chat) << name << ": " << chat.error().message;
    ChatOptions options;
    options.add_generation_prompt = each["add_generation_prompt"];
    const auto rendering = chat->render(each["messages"], options);
    ASSERT_TRUE(rendering) << name << ": " << rendering.error().message;
    EXPECT_EQ(rendering->text, each["text"].get<std::string>()) << name;
    EXPECT_TRUE(rendering->has_question) << name;
  }
  std::string names;
  for (const std::string& name : seen) names += (names.empty() ? "" : ", ") + name;
  EXPECT_EQ(template_names(), names);  // all were compared
}

TEST(NamedTemplates, OthersAreNone) {
  for (const char* name : {"", "chatml ", "mistral", "{{ x }}"}) EXPECT_FALSE(named_template(name));
}

TEST(NamedTemplates, ARoleThatTheFormatLacksIsRefused) {
  const Json messages = {{{"role", "tool"}, {"content", "5"}}};
  for (const char* name : {"vicuna", "llama2", "mistral-v3"}) {
    const auto text = ChatTemplate::compile(*named_template(name), {})->render(messages);
    ASSERT_FALSE(text) << name;
    EXPECT_NE(text.error().message.find("has no role tool"), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace assay::text
