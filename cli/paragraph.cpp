#include "paragraph.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>

size_t columns_of_terminal(int descriptor) {
  constexpr size_t least = 20, usual = 80;
  if (const char* set = std::getenv("COLUMNS")) {
    size_t columns = 0;
    const char* end = set + std::strlen(set);
    const auto parsed = std::from_chars(set, end, columns);
    if (parsed.ec == std::errc() && parsed.ptr == end && columns > 0)
      return std::max(columns, least);
  }
  winsize size{};
  if (isatty(descriptor) && ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return std::max<size_t>(size.ws_col, least);
  return usual;
}

size_t length_of(std::string_view text) {
  return size_t(std::ranges::count_if(text, [](char c) { return (uint8_t(c) & 0xC0) != 0x80; }));
}

std::string wrapped(std::string_view text, size_t width, size_t indent, size_t begun,
                    std::string_view joint) {
  std::string out;
  size_t column = begun;
  for (bool first = true; !text.empty(); first = false) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    const size_t length = length_of(word), after = text.empty() ? 0 : joint.size();
    if (!first && column + 1 + length + after > width) {
      out += std::string(joint) + "\n" + std::string(indent, ' ');
      column = indent;
    } else if (!first) {
      out += ' ';
      ++column;
    }
    out += word;
    column += length;
  }
  return out;
}

void print_paragraph(std::string_view text) {
  if (isatty(STDOUT_FILENO))
    fmt::print("{}\n", wrapped(text, columns_of_terminal(STDOUT_FILENO), 2));
  else
    fmt::print("{}\n", text);
}
