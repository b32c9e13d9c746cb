#include "text/chat_template.h"

#include <algorithm>

#include "gguf/reader.h"
#include "gguf/tokenizer_rules.h"

namespace assay::text {

namespace {

using Json = nlohmann::ordered_json;
using Tokens = std::vector<std::pair<std::string, std::string>>;

constexpr std::string_view template_key = "tokenizer.chat_template";

/// The spellings of the special tokens whose ids the file gives.
Result<Tokens> special_tokens(const gguf::File& file) {
  static constexpr std::pair<const char*, const char*> ids[] = {
      {"bos_token", "bos_token_id"},
      {"eos_token", "eos_token_id"},
      {"unk_token", "unknown_token_id"},
      {"pad_token", "padding_token_id"},
  };
  const gguf::Value* list = file.find("tokenizer.ggml.tokens");
  const gguf::Array* tokens = list ? std::get_if<gguf::Array>(&list->data) : nullptr;
  Tokens made;
  for (const auto& [variable, key] : ids) {
    const auto id = gguf::special_id(file, key);
    if (!id) return id.error();
    if (!*id || **id >= tokens->strings.size()) continue;
    made.emplace_back(variable, std::string(tokens->strings[**id]));
  }
  return made;
}

/// Turns every tool call's arguments that are a string holding an object into that object; false
/// where there was none.
bool open_arguments(Json& messages) {
  bool changed = false;
  for (Json& message : messages) {
    if (!message.is_object() || !message.contains("tool_calls")) continue;
    Json& calls = message["tool_calls"];
    if (!calls.is_array()) continue;
    for (Json& call : calls) {
      if (!call.is_object() || !call.contains("function")) continue;
      Json& function = call["function"];
      if (!function.is_object() || !function.contains("arguments")) continue;
      Json& arguments = function["arguments"];
      if (!arguments.is_string()) continue;
      Json opened = Json::parse(arguments.get_ref<const std::string&>(), nullptr, false);
      if (!opened.is_object()) continue;
      arguments = std::move(opened);
      changed = true;
    }
  }
  return changed;
}

Result<std::string> render_as(const jinja::Template& made, const Tokens& tokens,
                              const Json& messages, const ChatOptions& options) {
  Json variables = {{"messages", messages},
                    {"tools", options.tools},
                    {"documents", nullptr},
                    {"add_generation_prompt", options.add_generation_prompt}};
  for (const auto& [name, spelling] : tokens) variables[name] = spelling;
  if (options.extra.is_object()) variables.update(options.extra);
  auto context = jinja::Context::from_json(variables);
  if (!context) return context.error();
  context->now = options.now;
  return made.render(*context);
}

}  // namespace

std::vector<std::string> ChatTemplate::names(const gguf::File& file) {
  std::vector<std::string> made;
  for (const gguf::Metadata& each : file.metadata()) {
    const std::string prefix = std::string(template_key) + ".";
    if (each.key.starts_with(prefix)) made.emplace_back(each.key.substr(prefix.size()));
  }
  return made;
}

Result<ChatTemplate> ChatTemplate::open(const gguf::File& file, std::string_view name) {
  std::string key(template_key);
  if (!name.empty()) key.append(".").append(name);
  const auto source = file.string_value(key);
  if (!source) return source.error();
  if (!*source) {
    std::string message = file.path() + ": the file has no chat template";
    if (!name.empty()) message += " named '" + std::string(name) + "'";
    std::string known;
    for (const std::string& each : names(file)) {
      if (known.size() < 500) known += (known.empty() ? "" : ", ") + gguf::printable(each);
    }
    if (!known.empty()) message += "; its named templates are: " + known;
    return Error{message};
  }
  auto tokens = special_tokens(file);
  if (!tokens) return tokens.error();
  auto made = compile(**source, std::move(*tokens));
  if (!made) {
    return Error{file.path() + ": the chat template can't be used: " + made.error().message};
  }
  return made;
}

Result<ChatTemplate> ChatTemplate::compile(std::string_view source, Tokens tokens) {
  auto made = jinja::Template::compile(source);
  if (!made) return made.error();
  ChatTemplate chat(std::move(*made));
  chat.tokens_ = std::move(tokens);
  return chat;
}

Result<std::string> ChatTemplate::render(const Json& messages, const ChatOptions& options) const {
  if (!messages.is_array()) return Error{"the messages of a chat must be an array"};
  Json opened = messages;
  if (!open_arguments(opened)) return render_as(template_, tokens_, messages, options);
  auto text = render_as(template_, tokens_, opened, options);
  return text ? std::move(text) : render_as(template_, tokens_, messages, options);
}

std::string_view ChatTemplate::token(std::string_view variable) const {
  const auto found = std::find_if(tokens_.begin(), tokens_.end(),
                                  [&](const auto& each) { return each.first == variable; });
  return found == tokens_.end() ? std::string_view() : found->second;
}

bool ChatTemplate::begins_with_bos(std::string_view rendered) const {
  const std::string_view bos = token("bos_token");
  return !bos.empty() && rendered.starts_with(bos);
}

}  // namespace assay::text
