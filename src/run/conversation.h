// A conversation and its file: what `chat` says, saves and loads.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace assay::run {

/// Messages in the order they were said: at most one of "system", first; then those of "user",
/// "assistant" and "tool". What a file says of a message besides its role and content is kept and
/// given to the chat template. An exchange is a message of the user with what follows it.
struct Conversation {
  std::string model;  ///< path of the model it was held with
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  uint64_t left_out = 0;  ///< the oldest exchanges that the model is not shown
  nlohmann::ordered_json others = nlohmann::ordered_json::object();  ///< of the file, kept as it is

  void add(const std::string& role, const std::string& text);
  /// Sets, replaces or (empty) removes the system message.
  void set_system(const std::string& text);
  std::string system() const;
  uint64_t exchanges() const;
  /// What the model is shown: the system message and all exchanges but the first `left_out`.
  nlohmann::ordered_json shown() const;
  /// Removes what follows the last message of the user. False where there is none.
  bool drop_answer();
  /// Removes the last exchange. False where there is none.
  bool undo();
  /// The last message's role; empty where there is none.
  std::string last_role() const;
  void remove_last() { messages.erase(messages.size() - 1); }
};

/// {"schema": "assay.chat/1", "model", "messages", …} as JSON. A content with bytes that are not
/// UTF-8 stands there with U+FFFD, and exactly under "content_hex" beside it.
std::string to_text(const Conversation& conversation);
/// Errors: not JSON; not this schema; a message without a known role and a content.
Result<Conversation> conversation_of(const std::string& text, const std::string& path);

/// Writes the text beside `path` and renames it over it: the file is the old or the new one,
/// whatever happens between. Errors: cannot write (why); `path` is something other than a file.
Status save(const Conversation& conversation, const std::string& path);

/// Errors: cannot read; as conversation_of.
Result<Conversation> load_conversation(const std::string& path);

}  // namespace assay::run
