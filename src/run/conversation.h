// A conversation and its file: what `chat` says, saves and loads.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace assay::run {

/// Messages in the order they were said: at most one of "system", first; then "user" and
/// "assistant" in turns.
struct Conversation {
  std::string model;  ///< path of the model it was held with
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();

  void add(const std::string& role, const std::string& text);
  /// Sets, replaces or (empty) removes the system message.
  void set_system(const std::string& text);
  std::string system() const;
  /// Removes what follows the last message of the user. False where there is none.
  bool drop_answer();
  /// The last message's role; empty where there is none.
  std::string last_role() const;
  void remove_last() { messages.erase(messages.size() - 1); }
};

/// Writes {"schema": "assay.chat/1", "model", "messages"} beside `path` and renames it over it: the
/// file is the old or the new one, whatever happens between. Errors: cannot write (why); `path` is
/// something other than a file.
Status save(const Conversation& conversation, const std::string& path);

/// Errors: cannot read; not JSON; not this schema; a message without a known role and a text.
Result<Conversation> load_conversation(const std::string& path);

}  // namespace assay::run
