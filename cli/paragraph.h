// Text as wide as the terminal: its columns, words in lines, sentences on standard output.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

/// $COLUMNS where it is set, else the columns of the terminal, else 80; at least 20.
size_t columns_of_terminal(int descriptor);

/// Characters (code points) of UTF-8.
size_t length_of(std::string_view text);

/// The words of `text`, broken at spaces into lines of at most `width` characters; a longer word
/// stays whole. Lines after the first are indented. `begun`: characters that the first line has
/// already. `joint` ends a line that goes on.
std::string wrapped(std::string_view text, size_t width, size_t indent, size_t begun = 0,
                    std::string_view joint = "");

/// Prints the text, which must be escaped, and a newline: wrapped on a terminal, one line where a
/// program reads.
void print_paragraph(std::string_view text);
