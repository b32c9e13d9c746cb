#include "text/chat_template.h"

#include <algorithm>

#include "gguf/reader.h"
#include "gguf/tokenizer_rules.h"
#include "jinja/read_json.h"
#include "jinja/unicode.h"
#include "text/named_templates.h"

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
      auto opened = jinja::read_json(arguments.get_ref<const std::string&>());
      if (!opened || !opened->is_object()) continue;
      arguments = std::move(*opened);
      changed = true;
    }
  }
  return changed;
}

/// Roles and types are words of the format, which templates build control tokens from
/// (`<|user|>`); what is no plain word isn't.
bool is_word_of_format(std::string_view member, std::string_view text) {
  if (member != "role" && member != "type") return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '-';
  });
}

bool has_role(const Json& message, std::string_view role) {
  return message.is_object() && message.contains("role") && message["role"].is_string() &&
         message["role"].get_ref<const std::string&>() == role;
}

/// Where a message says that its content spells control tokens. Offsets in UTF-8: of a content that
/// is none they would name other bytes once it is repaired.
jinja::Quoting::Parts control_tokens(const Json& message) {
  jinja::Quoting::Parts parts;
  if (!has_role(message, "assistant") || !message.contains("control_tokens")) return parts;
  if (!message.contains("content") || !message["content"].is_string()) return parts;
  if (!jinja::is_valid_utf8(message["content"].get_ref<const std::string&>())) return parts;
  for (const Json& part : message["control_tokens"]) {
    const bool whole = part.is_array() && part.size() == 2 && part[0].is_number_unsigned() &&
                       part[1].is_number_unsigned();
    if (whole) parts.emplace_back(part[0].get<uint64_t>(), part[1].get<uint64_t>());
  }
  return parts;
}

/// The text of message `asked`, if any, is marked.
Result<jinja::Text> render_as(const jinja::Template& made, const Tokens& tokens,
                              const Json& messages, const ChatOptions& options,
                              std::optional<size_t> asked) {
  jinja::Context context;
  context.now = options.now;
  jinja::Quoting quoting{.own = is_word_of_format};
  if (asked) quoting.asked = &messages[*asked]["content"];
  for (size_t i = 0; options.control_tokens && i < messages.size(); ++i) {
    if (auto parts = control_tokens(messages[i]); !parts.empty())
      quoting.own_parts[&messages[i]["content"]] = std::move(parts);
  }
  const Json documents, generation = options.add_generation_prompt;
  for (const auto& [name, value] :
       {std::pair{"messages", &messages}, std::pair{"tools", &options.tools},
        std::pair{"documents", &documents}, std::pair{"add_generation_prompt", &generation}}) {
    if (const Status added = context.add(name, *value, quoting); !added) return added.error();
  }
  for (const auto& [name, spelling] : tokens) context.add_own(name, spelling);
  if (options.extra.is_object()) {
    for (const auto& [name, value] : options.extra.items()) {
      if (const Status added = context.add(name, value); !added) return added.error();
    }
  }
  return made.render_text(context);
}

/// Whether a message's content is a text, or has a part with a text, that isn't blank.
bool has_text(const Json& content) {
  if (content.is_string()) return !jinja::strip_left(content.get_ref<const std::string&>()).empty();
  return content.is_array() && std::any_of(content.begin(), content.end(), [](const Json& part) {
           return part.is_object() && part.contains("text") && has_text(part["text"]);
         });
}

/// The user's last message, if it has text.
std::optional<size_t> question(const Json& messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    if (!has_role(messages[i], "user")) continue;
    return messages[i].contains("content") && has_text(messages[i]["content"]) ? std::optional(i)
                                                                               : std::nullopt;
  }
  return std::nullopt;
}

bool is_asked(char origin) {
  return jinja::Origin{origin} == jinja::Origin::asked;
}

std::vector<Span> quoted_parts(const jinja::Text& text) {
  std::vector<Span> parts;
  for (uint64_t i = 0; i < text.origins.size(); ++i) {
    if (text.origin(i) == jinja::Origin::own) continue;
    if (parts.empty() || parts.back().end != i) parts.push_back({i, i});
    parts.back().end = i + 1;
  }
  return parts;
}

/// Without what is marked as asked.
jinja::Text cut(const jinja::Text& text) {
  jinja::Text left;
  for (uint64_t i = 0; i < text.size(); ++i) {
    if (text.origin(i) != jinja::Origin::asked) left.append(text, i, 1);
  }
  return left;
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
  const std::string text(**source);
  const auto known = named_template(text);
  auto made = open_other(file, known ? *known : text);
  if (!made) {
    return Error{file.path() + ": the chat template can't be used: " + made.error().message};
  }
  if (known) made->name_ = text;
  return made;
}

Result<ChatTemplate> ChatTemplate::open_other(const gguf::File& file,
                                              const std::string& name_or_source) {
  auto tokens = special_tokens(file);
  if (!tokens) return tokens.error();
  return compile(named_template(name_or_source).value_or(name_or_source), std::move(*tokens));
}

Result<ChatTemplate> ChatTemplate::compile(std::string_view source, Tokens tokens) {
  auto made = jinja::Template::compile(source);
  if (!made) return made.error();
  ChatTemplate chat(std::move(*made));
  chat.tokens_ = std::move(tokens);
  return chat;
}

Result<jinja::Text> ChatTemplate::text(const Json& messages, const ChatOptions& options,
                                       std::optional<size_t> asked) const {
  Json opened = messages;
  if (!open_arguments(opened)) return render_as(template_, tokens_, messages, options, asked);
  auto text = render_as(template_, tokens_, opened, options, asked);
  return text ? std::move(text) : render_as(template_, tokens_, messages, options, asked);
}

Result<Rendering> ChatTemplate::rendering(const Json& messages, const ChatOptions& options) const {
  const std::optional<size_t> asked = question(messages);
  auto text = this->text(messages, options, asked);
  if (!text) return text.error();
  Rendering made;
  made.quoted = quoted_parts(*text);
  made.has_question = !asked || std::any_of(text->origins.begin(), text->origins.end(), is_asked);
  made.text = std::move(text->bytes);
  return made;
}

bool ChatTemplate::leaves_out(const Json& messages, size_t index,
                              const ChatOptions& options) const {
  if (!messages[index].contains("content") || !has_text(messages[index]["content"])) return false;
  const auto rendered = text(messages, options, index);
  return rendered && std::none_of(rendered->origins.begin(), rendered->origins.end(), is_asked);
}

Result<Rendering> ChatTemplate::render(const Json& messages, const ChatOptions& options) const {
  if (!messages.is_array()) return Error{"the messages of a chat must be an array"};
  const bool has_system =
      !messages.empty() && (has_role(messages[0], "system") || has_role(messages[0], "developer"));
  if (!options.no_system || has_system) return rendering(messages, options);
  Json with = messages;
  with.insert(with.begin(), Json{{"role", "system"}, {"content", ""}});
  auto empty = rendering(with, options);
  if (!empty) return rendering(messages, options);  // this template has no system message at all
  with[0]["content"] = "-";
  const auto filled = text(with, options, 0);
  if (!filled) return empty;
  jinja::Text left = cut(*filled);
  if (left.size() < empty->text.size()) {
    empty->quoted = quoted_parts(left);
    empty->text = std::move(left.bytes);
  }
  return empty;
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
