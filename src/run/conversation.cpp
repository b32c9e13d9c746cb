#include "run/conversation.h"

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/atomic_file.h"

namespace assay::run {

namespace {

constexpr const char* schema = "assay.chat/1";
constexpr uint64_t most_bytes = 64 << 20;  // of a session's file

bool is_message(const nlohmann::ordered_json& message) {
  if (!message.is_object() || !message.contains("role") || !message.contains("content"))
    return false;
  if (!message["role"].is_string() || !message["content"].is_string()) return false;
  const auto& role = message["role"].get_ref<const std::string&>();
  return role == "system" || role == "user" || role == "assistant";
}

}  // namespace

void Conversation::add(const std::string& role, const std::string& text) {
  messages.push_back({{"role", role}, {"content", text}});
}

void Conversation::set_system(const std::string& text) {
  if (!system().empty()) messages.erase(0);
  if (text.empty()) return;
  const nlohmann::ordered_json message = {{"role", "system"}, {"content", text}};
  messages.insert(messages.begin(), message);
}

std::string Conversation::system() const {
  return !messages.empty() && messages[0]["role"] == "system" ? std::string(messages[0]["content"])
                                                              : "";
}

bool Conversation::drop_answer() {
  size_t keep = messages.size();
  while (keep > 0 && messages[keep - 1]["role"] != "user") --keep;
  if (keep == 0) return false;
  while (messages.size() > keep) remove_last();
  return true;
}

std::string Conversation::last_role() const {
  return messages.empty() ? "" : std::string(messages.back()["role"]);
}

Status save(const Conversation& conversation, const std::string& path) {
  const nlohmann::ordered_json json = {
      {"schema", schema}, {"model", conversation.model}, {"messages", conversation.messages}};
  // Bytes of a terminal that are not UTF-8 can't stand in JSON.
  const std::string text =
      json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  return write_atomically(path, {{text}});
}

Result<Conversation> load_conversation(const std::string& path) {
  std::error_code failed;
  const uint64_t size = std::filesystem::file_size(path, failed);
  std::ifstream file(path, std::ios::binary);
  if (failed || !file) return Error{fmt::format("cannot read '{}'", path)};
  if (size > most_bytes)
    return Error{
        fmt::format("'{}' has {} bytes; a saved chat has {} at most", path, size, most_bytes)};
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const auto json = nlohmann::ordered_json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object())
    return Error{fmt::format("'{}' is not a saved chat (not a JSON object)", path)};
  if (!json.contains("schema") || json["schema"] != schema)
    return Error{fmt::format("'{}' is not a saved chat (its schema is not {})", path, schema)};
  if (!json.contains("messages") || !json["messages"].is_array())
    return Error{fmt::format("'{}' has no list of messages", path)};
  Conversation conversation;
  conversation.model =
      json.value("model", nlohmann::ordered_json()).is_string() ? json["model"] : "";
  for (const auto& message : json["messages"]) {
    const size_t index = conversation.messages.size();
    if (!is_message(message))
      return Error{fmt::format("'{}': message {} needs a role (system, user, assistant) and a text",
                               path, index + 1)};
    if (message["role"] == "system" && index > 0)
      return Error{fmt::format("'{}': message {} is a system message; only the first may be one",
                               path, index + 1)};
    conversation.add(message["role"], message["content"]);
  }
  return conversation;
}

}  // namespace assay::run
