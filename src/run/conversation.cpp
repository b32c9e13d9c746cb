#include "run/conversation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>

#include "base/atomic_file.h"
#include "text/tokenizer.h"

namespace assay::run {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* schema = "assay.chat/1";
constexpr const char* exact_key = "content_hex";
constexpr uint64_t most_bytes = 64 << 20;  // of a session's file

bool has_role(const Json& message, std::string_view role) {
  return message["role"].get_ref<const std::string&>() == role;
}

/// Where the exchanges begin; the end of the messages last.
std::vector<size_t> starts_of(const Json& messages) {
  std::vector<size_t> starts;
  for (size_t i = 0; i < messages.size(); ++i)
    if (has_role(messages[i], "user")) starts.push_back(i);
  starts.push_back(messages.size());
  return starts;
}

/// A text, a list of parts (OpenAI's shape), or nothing beside tool calls.
bool has_content(const Json& message) {
  if (!message.contains("content") || message["content"].is_null())
    return message.contains("tool_calls");
  return message["content"].is_string() || message["content"].is_array();
}

bool is_message(const Json& message) {
  constexpr std::array roles = {"system", "user", "assistant", "tool"};
  if (!message.is_object() || !message.contains("role") || !message["role"].is_string())
    return false;
  const auto is = [&](const char* role) { return has_role(message, role); };
  return std::ranges::any_of(roles, is) && has_content(message);
}

std::string as_utf8(const std::string& bytes) {
  text::Detokenizer whole;
  const std::string text = whole.add(bytes);
  return text + whole.finish();
}

std::string hex_of(const std::string& bytes) {
  std::string hex;
  for (const char byte : bytes) hex += fmt::format("{:02x}", uint8_t(byte));
  return hex;
}

std::optional<std::string> bytes_of(const Json& hex) {
  if (!hex.is_string()) return {};
  const auto& digits = hex.get_ref<const std::string&>();
  if (digits.size() % 2 != 0) return {};
  std::string bytes;
  for (size_t i = 0; i < digits.size(); i += 2) {
    const auto value = [](char c) {
      return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    };
    const int high = value(digits[i]), low = value(digits[i + 1]);
    if (high < 0 || low < 0) return {};
    bytes += char(16 * high + low);
  }
  return bytes;
}

/// The content in UTF-8, with its bytes beside it where that is not the same.
Json written(const Json& message) {
  Json out = message;
  if (!message.contains("content") || !message["content"].is_string()) return out;
  const auto& bytes = message["content"].get_ref<const std::string&>();
  const std::string text = as_utf8(bytes);
  if (text == bytes) return out;
  out["content"] = text;
  out[exact_key] = hex_of(bytes);
  return out;
}

/// The bytes count only as long as nobody has changed the content beside them.
Json read(Json message) {
  const auto found = message.find(exact_key);
  if (found == message.end()) return message;
  const auto bytes = bytes_of(*found);
  if (!bytes || message["content"] != as_utf8(*bytes)) return message;
  message.erase(exact_key);
  message["content"] = *bytes;
  return message;
}

}  // namespace

void Conversation::add(const std::string& role, const std::string& text) {
  messages.push_back({{"role", role}, {"content", text}});
}

void Conversation::set_system(const std::string& text) {
  if (!messages.empty() && has_role(messages[0], "system")) messages.erase(0);
  if (text.empty()) return;
  const Json message = {{"role", "system"}, {"content", text}};
  messages.insert(messages.begin(), message);
}

std::string Conversation::system() const {
  if (messages.empty() || !has_role(messages[0], "system")) return "";
  const Json& content = messages[0]["content"];
  return content.is_string() ? std::string(content) : content.dump(-1, ' ', false);
}

uint64_t Conversation::exchanges() const {
  return starts_of(messages).size() - 1;
}

Json Conversation::shown() const {
  const auto starts = starts_of(messages);
  const size_t begin = starts[std::min<uint64_t>(left_out, starts.size() - 1)];
  Json shown = Json::array();
  for (size_t i = 0; i < messages.size(); ++i)
    if (left_out == 0 || i >= begin || has_role(messages[i], "system"))
      shown.push_back(messages[i]);
  return shown;
}

bool Conversation::drop_answer() {
  const auto starts = starts_of(messages);
  if (starts.size() == 1) return false;
  while (messages.size() > starts[starts.size() - 2] + 1) remove_last();
  return true;
}

bool Conversation::undo() {
  if (!drop_answer()) return false;
  remove_last();
  left_out = std::min(left_out, exchanges());
  return true;
}

std::string Conversation::last_role() const {
  return messages.empty() ? "" : std::string(messages.back()["role"]);
}

std::string to_text(const Conversation& conversation) {
  Json json = {{"schema", schema}, {"model", conversation.model}};
  if (conversation.left_out > 0) json["left_out"] = conversation.left_out;
  json.update(conversation.others);
  json["messages"] = Json::array();
  for (const Json& message : conversation.messages) json["messages"].push_back(written(message));
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Status save(const Conversation& conversation, const std::string& path) {
  return write_atomically(path, {{to_text(conversation)}});
}

Result<Conversation> load_conversation(const std::string& path) {
  std::error_code failed;
  const uint64_t size = std::filesystem::file_size(path, failed);
  std::ifstream file(path, std::ios::binary);
  if (failed || !file) return Error{fmt::format("cannot read '{}'", path)};
  if (size > most_bytes)
    return Error{
        fmt::format("'{}' has {} bytes; a saved chat has {} at most", path, size, most_bytes)};
  return conversation_of(std::string(std::istreambuf_iterator<char>(file), {}), path);
}

Result<Conversation> conversation_of(const std::string& text, const std::string& path) {
  auto json = Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object())
    return Error{fmt::format("'{}' is not a saved chat (not a JSON object)", path)};
  if (!json.contains("schema") || json["schema"] != schema)
    return Error{fmt::format("'{}' is not a saved chat (its schema is not {})", path, schema)};
  if (!json.contains("messages") || !json["messages"].is_array())
    return Error{fmt::format("'{}' has no list of messages", path)};
  Conversation conversation;
  if (json.contains("model") && json["model"].is_string()) conversation.model = json["model"];
  if (json.contains("left_out") && json["left_out"].is_number_unsigned())
    conversation.left_out = json["left_out"];
  for (const auto& message : json["messages"]) {
    const size_t index = conversation.messages.size();
    if (!is_message(message))
      return Error{
          fmt::format("'{}': message {} needs a role (system, user, assistant, tool) and a content",
                      path, index + 1)};
    if (has_role(message, "system") && index > 0)
      return Error{fmt::format("'{}': message {} is a system message; only the first may be one",
                               path, index + 1)};
    conversation.messages.push_back(read(message));
  }
  conversation.left_out = std::min(conversation.left_out, conversation.exchanges());
  for (const char* key : {"schema", "model", "left_out", "messages"}) json.erase(key);
  conversation.others = std::move(json);
  return conversation;
}

}  // namespace assay::run
