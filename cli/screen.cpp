#include "screen.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cwchar>

#include "text/utf8.h"

namespace {

using assay::text::first_character;

const std::vector<std::string> opening = {
    "<think>",   "<thinking>",   "<thought>",          "[THINK]",
    "<|think|>", "<seed:think>", "<|START_THINKING|>", "<|channel|>analysis<|message|>",
};
const std::vector<std::string> closing = {
    "</think>",   "</thinking>",   "</thought>",       "[/THINK]",
    "<|/think|>", "</seed:think>", "<|END_THINKING|>", "<|channel|>final<|message|>",
};

bool has_styles() {
  const char* no_color = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return !(no_color && *no_color) && terminal && std::strcmp(terminal, "dumb") != 0;
}

uint32_t terminal_columns() {
  winsize size{};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

/// Columns of a character, which is whole.
uint32_t width_of(std::string_view character) {
  if (character.size() == 1) return 1;
  wchar_t code = wchar_t(uint8_t(character[0]) & (0x7F >> character.size()));
  for (const char byte : character.substr(1)) code = wchar_t(code << 6 | (uint8_t(byte) & 0x3F));
  const int width = wcwidth(code);
  return width < 0 ? 1 : uint32_t(width);
}

/// The end of the text that fits into so many columns, on one line.
std::string tail(const std::string& text, uint32_t columns) {
  std::vector<std::string_view> letters;
  for (std::string_view rest = text; !rest.empty();) {
    letters.push_back(rest.substr(0, first_character(rest).length));
    rest.remove_prefix(letters.back().size());
  }
  size_t begin = letters.size();
  for (uint32_t used = 0; begin > 0; --begin) {
    used += width_of(letters[begin - 1]);
    if (used > columns) break;
  }
  std::string end;
  for (; begin < letters.size(); ++begin) end += letters[begin] == "\n" ? " " : letters[begin];
  return end;
}

}  // namespace

std::string printable(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = uint8_t(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F)
      out += "\xEF\xBF\xBD";
    else
      out += c;
  }
  return out;
}

bool opens_thoughts(std::string_view end_of_prompt) {
  const size_t last = end_of_prompt.find_last_not_of(" \t\r\n");
  if (last == end_of_prompt.npos) return false;
  const std::string_view text = end_of_prompt.substr(0, last + 1);
  return std::ranges::any_of(opening,
                             [&](const std::string& mark) { return text.ends_with(mark); });
}

Screen::Screen(Options options)
    : options_(std::move(options)),
      styled_(has_styles()),
      thinking_(options_.thinking),
      marks_(thinking_ ? closing : opening),
      columns_(terminal_columns()) {
  if (std::strcmp(std::setlocale(LC_CTYPE, nullptr), "C") == 0)
    std::setlocale(LC_CTYPE, "C.UTF-8");  // for wcwidth
  if (thinking_) set_dim(true);
}

void Screen::write(const std::vector<assay::run::TextPart>& parts, bool special) {
  erase_footer();
  for (const auto& part : parts) {
    const std::string text = printable(part.text);
    for (std::string_view rest = text; !rest.empty();) {
      const std::string_view letter = rest.substr(0, first_character(rest).length);
      feed({std::string(letter), special || !part.control});
      rest.remove_prefix(letter.size());
    }
  }
  draw_footer();
  std::fflush(stdout);
}

void Screen::finish() {
  erase_footer();
  release(UINT64_MAX);
  flush_word();
  if (thinking_) set_dim(false);
  if (column_ > 0) print("\n");
  std::fflush(stdout);
}

void Screen::feed(Letter letter) {
  held_.push_back(std::move(letter));
  const auto out = marks_.add(held_.back().text);
  release(out.text.size());
  if (!out.stopped) return;
  if (!thinking_) set_dim(true);
  // Without a dim style the mark itself has to say where thoughts begin and end.
  for (Letter& each : held_) each.visible = each.visible || !styled_;
  release(UINT64_MAX);
  if (thinking_) set_dim(false);
  thinking_ = !thinking_;
  marks_ = assay::run::StopStrings(thinking_ ? closing : opening);
}

void Screen::release(uint64_t bytes) {
  while (!held_.empty() && bytes > 0) {
    const Letter letter = std::move(held_.front());
    held_.pop_front();
    bytes -= std::min<uint64_t>(bytes, letter.text.size());
    if (letter.visible) put(letter.text);
  }
}

void Screen::set_dim(bool dim) {
  if (!styled_) return;
  flush_word();
  print(dim ? "\x1b[2m" : "\x1b[22m");
}

void Screen::put(const std::string& letter) {
  if (letter == "\n") {
    flush_word();
    print("\n");
    spaces_.clear();
    line_.clear();
    column_ = 0;
    columns_ = terminal_columns();
    return;
  }
  if (line_.size() < 3) {
    line_ += letter;
    if (line_ == "```") code_ = !code_;
  }
  const uint32_t width = width_of(letter);
  if (!options_.wrap || code_ || letter == "\t") {
    flush_word();
    put_as_is(letter, letter == "\t" ? 8 - column_ % 8 : width);
  } else if (letter == " ") {
    flush_word();
    spaces_ += ' ';
  } else {
    // Chinese and Japanese break between any two characters, and no word may be longer than a line.
    if (width == 2 || word_width_ + width >= columns_) flush_word();
    word_ += letter;
    word_width_ += width;
    if (width == 2) flush_word();
  }
}

/// Prints a letter where the cursor is; the terminal itself breaks the line.
void Screen::put_as_is(const std::string& letter, uint32_t width) {
  print(spaces_);
  column_ += uint32_t(spaces_.size());
  spaces_.clear();
  print(letter);
  column_ += width;
  if (column_ > columns_) column_ = (column_ - 1) % columns_ + 1;
}

void Screen::flush_word() {
  if (word_.empty()) return;
  if (column_ > 0 && column_ + spaces_.size() + word_width_ >= columns_) {
    print("\n");
    column_ = 0;
  } else {
    print(spaces_);
    column_ += uint32_t(spaces_.size());
  }
  spaces_.clear();
  print(word_);
  column_ += word_width_;
  word_.clear();
  word_width_ = 0;
}

void Screen::print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void Screen::erase_footer() {
  if (footer_.empty()) return;
  print("\x1b[J");
  footer_.clear();
}

/// On the line below the cursor, which comes back. A full line leaves no place to come back to.
void Screen::draw_footer() {
  if (!styled_ || !options_.waiting || column_ >= columns_) return;
  footer_ = options_.waiting();
  if (footer_.empty()) return;
  print(fmt::format("\n\r\x1b[2m{}\x1b[22m{}\x1b[A\r", tail(footer_, columns_ - 1),
                    thinking_ ? "\x1b[2m" : ""));
  if (column_ > 0) print(fmt::format("\x1b[{}C", column_));
}
