#include "paragraph.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace {

/// COLUMNS where it is set, else the terminal's; 0 where standard output is none.
size_t columns_of_output() {
  if (!isatty(STDOUT_FILENO)) return 0;
  if (const char* set = std::getenv("COLUMNS"); set && std::atoi(set) > 0)
    return size_t(std::atoi(set));
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

size_t characters(std::string_view text) {
  return size_t(std::ranges::count_if(text, [](char c) { return (uint8_t(c) & 0xC0) != 0x80; }));
}

}  // namespace

std::string wrapped(std::string_view text, size_t columns) {
  std::string out;
  size_t used = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t length = characters(word);
    if (out.empty()) {
      used = length;
    } else if (used + 1 + length > columns) {
      out += "\n  ";
      used = 2 + length;
    } else {
      out += ' ';
      used += 1 + length;
    }
    out += word;
  }
  return out;
}

void print_paragraph(std::string_view text) {
  const size_t columns = columns_of_output();
  fmt::print("{}\n", columns ? wrapped(text, std::max<size_t>(columns, 20)) : std::string(text));
}
