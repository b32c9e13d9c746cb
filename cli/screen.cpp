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
#include <utility>

#include "text/utf8.h"

namespace {

using assay::text::first_character;

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

Screen::Screen(Options options)
    : options_(std::move(options)),
      styled_(has_styles()),
      reader_(options_.thinking),
      columns_(terminal_columns()) {
  if (std::strcmp(std::setlocale(LC_CTYPE, nullptr), "C") == 0)
    std::setlocale(LC_CTYPE, "C.UTF-8");  // for wcwidth
}

void Screen::write(const std::vector<assay::run::TextPart>& parts, bool special) {
  erase_footer();
  for (auto part : parts) {
    part.text = printable(part.text);
    part.shown = part.shown || special;
    show(reader_.add(part), special);
  }
  draw_footer();
  std::fflush(stdout);
}

void Screen::finish() {
  erase_footer();
  show(reader_.finish(), false);
  flush_word();
  set_dim(false);
  if (column_ > 0) print("\n");
  std::fflush(stdout);
}

/// Where there is a dim style, marks are shown only to who wants all control tokens; without one they
/// have to say where thoughts begin and end.
void Screen::show(const std::vector<assay::run::Said>& said, bool special) {
  using assay::run::Voice;
  for (const auto& [part, voice] : said) {
    if (voice == Voice::mark ? styled_ && !special : !part.shown) continue;
    set_dim(voice != Voice::answer);
    for (std::string_view rest = part.text; !rest.empty();) {
      const std::string_view letter = rest.substr(0, first_character(rest).length);
      put(std::string(letter));
      rest.remove_prefix(letter.size());
    }
  }
}

void Screen::set_dim(bool dim) {
  if (!styled_ || dim == std::exchange(dim_, dim)) return;
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
                    dim_ ? "\x1b[2m" : ""));
  if (column_ > 0) print(fmt::format("\x1b[{}C", column_));
}
