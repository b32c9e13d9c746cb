// Lines from a person or a pipe.
#pragma once

#include <memory>
#include <string>

/// On a terminal: libedit's editing with the history of this run (Emacs keys, or what ~/.editrc
/// says). Elsewhere: lines as they come, without prompts.
class LineEditor {
 public:
  LineEditor();
  ~LineEditor();

  enum class Read { line, end, interrupt };
  /// Reads a line, without its line end, into `line`. Ctrl-C gives `interrupt`.
  Read read(const std::string& prompt, std::string& line);
  /// Puts a line into the history.
  void remember(const std::string& line);
  bool interactive() const { return editor_ != nullptr; }

 private:
  struct Editor;
  std::unique_ptr<Editor> editor_;
};
