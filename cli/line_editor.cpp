#include "line_editor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <histedit.h>
#include <langinfo.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string_view>
#include <utility>

#include "common.h"
#include "history_file.h"

namespace {

constexpr std::string_view paste_begins = "\x1b[200~", paste_ends = "\x1b[201~";

}  // namespace

// ---- what is typed during an answer

void TypedAhead::add(const std::string& bytes) {
  raw_ += bytes;
  bool more = true;
  while (!raw_.empty() && more) {
    if (pasting_) {
      more = take_paste();
    } else if (raw_[0] == '\x1b') {
      more = take_escape();
    } else {
      take_key(raw_[0]);
      raw_.erase(0, 1);
    }
  }
}

/// False where the end has not come yet.
bool TypedAhead::take_paste() {
  const size_t length = raw_.find(paste_ends);
  if (length == raw_.npos) return false;
  for (size_t i = 0; i < length; ++i) {
    const char c = raw_[i] == '\r' ? '\n' : raw_[i];
    if (raw_[i] == '\r' && i + 1 < length && raw_[i + 1] == '\n') ++i;
    if (uint8_t(c) >= 0x20 || c == '\n' || c == '\t') rest += c;
  }
  raw_.erase(0, length + paste_ends.size());
  pasting_ = false;
  return true;
}

/// Arrows and their like mean nothing here. False where the sequence may go on.
bool TypedAhead::take_escape() {
  if (raw_.starts_with(paste_begins)) {
    raw_.erase(0, paste_begins.size());
    pasting_ = true;
    return true;
  }
  if (raw_.size() < 2) return false;
  size_t length = 2;
  if (raw_[1] == '[') {
    while (length < raw_.size() && (raw_[length] < '@' || raw_[length] > '~')) ++length;
    if (length++ == raw_.size()) return false;
  } else if (raw_[1] == 'O') {
    if (raw_.size() < 3) return false;
    length = 3;
  }
  raw_.erase(0, length);
  return true;
}

void TypedAhead::take_key(char key) {
  const auto erase_letter = [&] {
    while (!rest.empty() && (rest.back() & 0xC0) == 0x80) rest.pop_back();
    if (!rest.empty()) rest.pop_back();
  };
  constexpr char control_d = 4, control_h = 8, control_u = 21, control_w = 23, erase = 127;
  if (key == '\r' || key == '\n') {
    lines.push_back(std::exchange(rest, {}));
  } else if (key == erase || key == control_h) {
    erase_letter();
  } else if (key == control_u) {
    rest.clear();
  } else if (key == control_w) {
    while (!rest.empty() && rest.back() == ' ') rest.pop_back();
    while (!rest.empty() && rest.back() != ' ') rest.pop_back();
  } else if (key == control_d) {
    end = end || rest.empty();
  } else if (uint8_t(key) >= 0x20 || key == '\t') {
    rest += key;
  }
}

std::string TypedAhead::shown() const {
  if (lines.empty() && rest.empty()) return "";
  std::string text = "waits: ";
  for (const std::string& line : lines) text += line + " ⏎ ";
  return text + rest;
}

// ---- the editor

namespace {

/// What libedit's callbacks need, which know the EditLine only.
struct Shared {
  std::string prompt;
  std::string dropped;              ///< what Ctrl-C took out of the line
  std::vector<std::string> pastes;  ///< long pasted texts, which the line names only
  std::vector<std::string> words;
};

Shared& shared_of(EditLine* line) {
  Shared* shared = nullptr;
  el_get(line, EL_CLIENTDATA, &shared);
  return *shared;
}

void append_utf8(std::string& text, char32_t c) {
  const auto tail = [&](int shift) { return char(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) {
    text += char(c);
  } else if (c < 0x800) {
    text += {char(0xC0 | c >> 6), tail(0)};
  } else if (c < 0x10000) {
    text += {char(0xE0 | c >> 12), tail(6), tail(0)};
  } else {
    text += {char(0xF0 | c >> 18), tail(12), tail(6), tail(0)};
  }
}

char* prompt_of(EditLine* line) {
  return shared_of(line).prompt.data();
}

std::string text_of(EditLine* line, bool before_cursor) {
  const LineInfo* info = el_line(line);
  return {info->buffer, before_cursor ? info->cursor : info->lastchar};
}

/// Ctrl-C at the prompt is a key like any other: a signal could come just before the read and be
/// lost.
unsigned char on_control_c(EditLine* line, int) {
  shared_of(line).dropped = text_of(line, false);
  interrupted = true;
  return CC_EOF;
}

std::string name_of_paste(const std::string& text, size_t number) {
  return fmt::format("[pasted text {}: {} lines]", number,
                     std::ranges::count(text, '\n') + !text.ends_with('\n'));
}

/// The line with the pasted texts that it names.
std::string with_pastes(std::string line, const std::vector<std::string>& pastes) {
  for (size_t i = 0; i < pastes.size(); ++i) {
    const std::string name = name_of_paste(pastes[i], i + 1);
    const size_t at = line.find(name);
    if (at != line.npos) line.replace(at, name.size(), pastes[i]);
  }
  return line;
}

/// A pasted text goes into the line as it is, line ends too, up to the bracket that ends it. A text
/// that would fill the screen, where it can't be edited, is named instead.
unsigned char on_paste(EditLine* line, int) {
  const std::wstring end(paste_ends.begin(), paste_ends.end());
  std::wstring text;
  for (wchar_t c = 0; !text.ends_with(end) && el_wgetc(line, &c) == 1;) text += c;
  if (text.ends_with(end)) text.resize(text.size() - end.size());
  std::wstring clean;
  for (size_t i = 0; i < text.size(); ++i) {
    const wchar_t c = text[i] == L'\r' ? L'\n' : text[i];
    if (text[i] == L'\r' && i + 1 < text.size() && text[i + 1] == L'\n') ++i;
    if (c >= 0x20 || c == L'\n' || c == L'\t') clean += c;
  }
  constexpr int most_lines = 10;
  if (std::ranges::count(clean, L'\n') < most_lines) {
    if (!clean.empty()) el_winsertstr(line, clean.c_str());
    return CC_REFRESH;
  }
  auto& pastes = shared_of(line).pastes;
  std::string& paste = pastes.emplace_back();
  for (const wchar_t c : clean) append_utf8(paste, char32_t(c));
  el_insertstr(line, name_of_paste(paste, pastes.size()).c_str());
  return CC_REFRESH;
}

/// What the words that begin with `typed` have in common after it, and each up to its next space.
struct Completion {
  std::string more;
  std::vector<std::string> choices;
};
Completion complete(const std::vector<std::string>& words, const std::string& typed) {
  Completion found;
  for (const std::string& word : words) {
    if (!word.starts_with(typed)) continue;
    const std::string choice = word.substr(0, word.find(' ', typed.size()));
    if (std::ranges::find(found.choices, choice) == found.choices.end())
      found.choices.push_back(choice);
  }
  if (found.choices.empty()) return found;
  std::string common = found.choices[0];
  for (const std::string& choice : found.choices)
    common.resize(size_t(std::ranges::mismatch(common, choice).in1 - common.begin()));
  found.more = common.substr(typed.size()) + (found.choices.size() == 1 ? " " : "");
  return found;
}

/// Completes commands and their settings, then names of files.
unsigned char on_tab(EditLine* line, int key) {
  const std::string typed = text_of(line, true);
  if (!typed.starts_with('/')) return el_insertstr(line, "\t") < 0 ? CC_ERROR : CC_REFRESH;
  const Completion found = complete(shared_of(line).words, typed);
  if (found.choices.empty())
    return typed.find(' ') == typed.npos ? CC_REFRESH_BEEP : _el_fn_complete(line, key);
  if (!found.more.empty())
    return el_insertstr(line, found.more.c_str()) < 0 ? CC_ERROR : CC_REFRESH;
  fmt::print(stderr, "\n{}\n", fmt::join(found.choices, "  "));
  return CC_REDISPLAY;
}

/// No signal while a line is edited, and the line ends of a pasted text as they are; libedit
/// restores its own settings afterwards.
void take_keys_as_they_are() {
  termios settings{};
  if (tcgetattr(STDIN_FILENO, &settings) != 0) return;
  settings.c_cc[VINTR] = _POSIX_VDISABLE;
  settings.c_iflag &= ~tcflag_t(ICRNL | INLCR);
  tcsetattr(STDIN_FILENO, TCSADRAIN, &settings);
}

/// libedit reads characters as the locale says; text here is UTF-8 wherever the machine can.
void use_utf8() {
  std::setlocale(LC_CTYPE, "");
  if (std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0) std::setlocale(LC_CTYPE, "C.UTF-8");
}

// The terminal as it was before an answer, for the handler of signals.
termios usual_settings{};
volatile std::sig_atomic_t settings_changed = 0;

void restore_settings() {
  if (settings_changed) tcsetattr(STDIN_FILENO, TCSADRAIN, &usual_settings);
  settings_changed = 0;
}

/// The first Ctrl-C of an answer ends the answer; another one, or a request to end, the program.
void on_signal(int signal) {
  if (signal == SIGINT && !interrupted) {
    interrupted = true;
    return;
  }
  restore_settings();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
}

void tell_terminal(std::string_view sequence) {
  fmt::print(stderr, "{}", sequence);
  std::fflush(stderr);
}

}  // namespace

struct LineEditor::Editor {
  EditLine* line = nullptr;
  History* history = nullptr;
  Shared shared;
  std::string file;  // of the history
  ~Editor() {
    if (history) history_end(history);
    if (line) el_end(line);
  }
};

LineEditor::LineEditor(const std::string& history_file, std::vector<std::string> words) {
  if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) return;
  use_utf8();
  auto editor = std::make_unique<Editor>();
  // Prompts and echo go to stderr: stdout is the answers'.
  editor->line = el_init("assay", stdin, stderr, stderr);
  editor->history = history_init();
  if (!editor->line || !editor->history) return;
  editor->shared.words = std::move(words);
  editor->file = history_file;
  HistEvent event;
  history(editor->history, &event, H_SETSIZE, int(most_kept_lines));
  history(editor->history, &event, H_SETUNIQUE, 1);
  for (const std::string& line : read_history(history_file))
    history(editor->history, &event, H_ENTER, line.c_str());
  const auto bind = [&](const char* name, const char* help, auto* function, const char* keys) {
    el_set(editor->line, EL_ADDFN, name, help, function);
    el_set(editor->line, EL_BIND, keys, name, nullptr);
  };
  el_set(editor->line, EL_EDITOR, "emacs");
  el_set(editor->line, EL_HIST, ::history, editor->history);
  el_set(editor->line, EL_CLIENTDATA, &editor->shared);
  el_set(editor->line, EL_PROMPT, prompt_of);
  el_source(editor->line, nullptr);
  bind("assay-interrupt", "Drop the line", on_control_c, "^C");
  bind("assay-paste", "Insert a pasted text", on_paste, paste_begins.data());
  bind("assay-complete", "Complete a command", on_tab, "^I");
  editor_ = std::move(editor);
  tell_terminal("\x1b[?2004h");  // pasted text comes in brackets
}

LineEditor::~LineEditor() {
  stop_listening();
  if (editor_) tell_terminal("\x1b[?2004l");
}

LineEditor::Read LineEditor::read(const std::string& prompt, std::string& line) {
  line.clear();
  if (!editor_) {
    if (!std::getline(std::cin, line)) return interrupted ? Read::interrupt : Read::end;
    if (line.ends_with('\r')) line.pop_back();
    return Read::line;
  }
  stop_listening();
  if (!typed_.lines.empty()) {
    line = std::move(typed_.lines.front());
    typed_.lines.pop_front();
    fmt::print(stderr, "{}{}\n", prompt, line);
    return Read::line;
  }
  if (std::exchange(typed_.end, false)) return Read::end;
  editor_->shared.prompt = prompt;
  editor_->shared.dropped.clear();
  editor_->shared.pastes.clear();
  interrupted = false;
  catch_interrupt(true);
  el_resize(editor_->line);
  el_set(editor_->line, EL_PREP_TERM, 1);  // before the prompt shows: no Ctrl-D is lost between
  take_keys_as_they_are();
  if (!typed_.rest.empty()) {
    const auto begun = fmt::format("{}{}{}", paste_begins, typed_.rest, paste_ends);
    el_push(editor_->line, begun.c_str());
    typed_.rest.clear();
  }
  int count = 0;
  const char* text = el_gets(editor_->line, &count);
  if (interrupted) {
    line = with_pastes(editor_->shared.dropped, editor_->shared.pastes);
    el_set(editor_->line, EL_UNBUFFERED, 0);  // leaves the half-typed line behind
    std::fputs("\n", stderr);
    return Read::interrupt;
  }
  if (!text || count <= 0) return Read::end;
  line.assign(text, size_t(count));
  while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
  line = with_pastes(line, editor_->shared.pastes);
  return Read::line;
}

void LineEditor::remember(const std::string& line) {
  if (!editor_ || line.empty()) return;
  HistEvent event;
  history(editor_->history, &event, H_ENTER, line.c_str());
  add_to_history(editor_->file, line);
}

void LineEditor::listen() {
  interrupted = false;
  if (!editor_) return catch_interrupt();
  catch_signals();
  if (listening_ || tcgetattr(STDIN_FILENO, &usual_settings) != 0) return;
  termios quiet = usual_settings;
  quiet.c_lflag &= ~tcflag_t(ECHO | ICANON);
  quiet.c_iflag &= ~tcflag_t(ICRNL);
  quiet.c_cc[VMIN] = quiet.c_cc[VTIME] = 0;
  settings_changed = 1;
  tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet);
  listening_ = true;
}

void LineEditor::take_typed() {
  if (!listening_) return;
  char bytes[4096];
  for (ssize_t count = 0; (count = ::read(STDIN_FILENO, bytes, sizeof bytes)) > 0;)
    typed_.add(std::string(bytes, size_t(count)));
}

std::string LineEditor::waiting() {
  take_typed();
  return typed_.shown();
}

void LineEditor::stop_listening() {
  if (!listening_) return;
  take_typed();
  restore_settings();
  listening_ = false;
}
