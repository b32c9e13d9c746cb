// The file that a chat is saved to after every answer.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "run/conversation.h"

namespace assay::run {

/// Nothing that stands in the file is lost: a save replaces only what this object read or wrote
/// itself and what the conversation continues. Anything else is first copied to PATH.1, PATH.2, …
class SessionFile {
 public:
  /// Reads the file if there is one. Errors: it cannot be read, is no saved chat, or cannot be
  /// written.
  static Result<SessionFile> open(const std::string& path);

  /// What stood in the file.
  const std::optional<Conversation>& loaded() const { return loaded_; }
  /// The conversation that will be saved next is another one than that of the file.
  void begin_another() { another_ = true; }
  /// It is that of the file again.
  void go_on() { another_ = false; }
  /// Writes the conversation if it has changed since it was read or written.
  /// Where the file's content was copied to; empty where it was not. Errors: cannot write or copy.
  Result<std::string> save(const Conversation& conversation);
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::string known_;    // the content as it was read or written last
  std::string current_;  // the conversation of then as this program writes it
  std::optional<Conversation> loaded_;
  bool another_ = false;
};

}  // namespace assay::run
