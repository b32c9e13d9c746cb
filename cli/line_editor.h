// Lines from a person or a pipe.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

/// What a person types while an answer is written, kept until it is its turn.
class TypedAhead {
 public:
  /// Takes bytes of the terminal as they come: keys, and pasted text in its brackets.
  void add(const std::string& bytes);
  /// What there is, for a person to see; empty where nothing is.
  std::string shown() const;

  std::deque<std::string> lines;  ///< ended by Enter; a pasted text may hold line ends
  std::string rest;               ///< begun
  bool end = false;               ///< Ctrl-D came after the lines

 private:
  bool take_paste();
  bool take_escape();
  void take_key(char key);

  std::string raw_;  // not yet understood: it may be the start of a longer sequence
  bool pasting_ = false;
};

/// On a terminal: libedit's editing with a history (Emacs keys, or what ~/.editrc says). Elsewhere:
/// lines as they come, without prompts.
class LineEditor {
 public:
  /// `history`: the file that keeps lines between runs, one JSON string each; empty: none.
  /// `words`: what Tab completes, "/set temp" after "/set".
  explicit LineEditor(const std::string& history = {}, std::vector<std::string> words = {});
  ~LineEditor();

  enum class Read { line, end, interrupt };
  /// Reads a line, without its line end, into `line`; a pasted text of many lines is one. Ctrl-C
  /// gives `interrupt` and what had been typed.
  Read read(const std::string& prompt, std::string& line);
  /// Puts a line into the history, and into its file.
  void remember(const std::string& line);
  bool interactive() const { return editor_ != nullptr; }

  /// Until the next read: Ctrl-C sets `interrupted`, and what is typed is kept for the next reads.
  void listen();
  /// Takes what was typed since; what waits now, for a person to see.
  std::string waiting();

 private:
  void stop_listening();
  void take_typed();

  struct Editor;
  std::unique_ptr<Editor> editor_;
  TypedAhead typed_;
  bool listening_ = false;
};
