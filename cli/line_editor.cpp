#include "line_editor.h"

#include <histedit.h>
#include <langinfo.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstring>
#include <iostream>

#include "common.h"

struct LineEditor::Editor {
  EditLine* line = nullptr;
  History* history = nullptr;
  std::string prompt;
  ~Editor() {
    if (history) history_end(history);
    if (line) el_end(line);
  }
};

namespace {

char* prompt_of(EditLine* line) {
  std::string* prompt = nullptr;
  el_get(line, EL_CLIENTDATA, &prompt);
  return prompt->data();
}

/// Ctrl-C at the prompt is a key like any other: a signal could come just before the read and be
/// lost.
unsigned char on_control_c(EditLine*, int) {
  interrupted = true;
  return CC_EOF;
}

/// No signal while a line is edited; libedit restores its own settings afterwards.
void make_control_c_a_key() {
  termios settings{};
  if (tcgetattr(STDIN_FILENO, &settings) != 0) return;
  settings.c_cc[VINTR] = _POSIX_VDISABLE;
  tcsetattr(STDIN_FILENO, TCSADRAIN, &settings);
}

/// libedit reads characters as the locale says; text here is UTF-8 wherever the machine can.
void use_utf8() {
  std::setlocale(LC_CTYPE, "");
  if (std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0) std::setlocale(LC_CTYPE, "C.UTF-8");
}

}  // namespace

LineEditor::LineEditor() {
  if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) return;
  use_utf8();
  auto editor = std::make_unique<Editor>();
  // Prompts and echo go to stderr: stdout is the answers'.
  editor->line = el_init("assay", stdin, stderr, stderr);
  editor->history = history_init();
  if (!editor->line || !editor->history) return;
  HistEvent event;
  history(editor->history, &event, H_SETSIZE, 1000);
  history(editor->history, &event, H_SETUNIQUE, 1);
  el_set(editor->line, EL_EDITOR, "emacs");
  el_set(editor->line, EL_HIST, ::history, editor->history);
  el_set(editor->line, EL_CLIENTDATA, &editor->prompt);
  el_set(editor->line, EL_PROMPT, prompt_of);
  el_source(editor->line, nullptr);
  el_set(editor->line, EL_ADDFN, "assay-interrupt", "Drop the line", on_control_c);
  el_set(editor->line, EL_BIND, "^C", "assay-interrupt", nullptr);
  editor_ = std::move(editor);
}

LineEditor::~LineEditor() = default;

LineEditor::Read LineEditor::read(const std::string& prompt, std::string& line) {
  line.clear();
  if (!editor_) {
    if (!std::getline(std::cin, line)) return interrupted ? Read::interrupt : Read::end;
    if (line.ends_with('\r')) line.pop_back();
    return Read::line;
  }
  editor_->prompt = prompt;
  interrupted = false;
  catch_interrupt(true);
  el_set(editor_->line, EL_PREP_TERM, 1);  // before the prompt shows: no Ctrl-D is lost between
  make_control_c_a_key();
  int count = 0;
  const char* text = el_gets(editor_->line, &count);
  if (interrupted) {
    el_set(editor_->line, EL_UNBUFFERED, 0);  // leaves the half-typed line behind
    std::fputs("\n", stderr);
    return Read::interrupt;
  }
  if (!text || count <= 0) return Read::end;
  line.assign(text, size_t(count));
  while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
  return Read::line;
}

void LineEditor::remember(const std::string& line) {
  if (!editor_ || line.empty()) return;
  HistEvent event;
  history(editor_->history, &event, H_ENTER, line.c_str());
}
