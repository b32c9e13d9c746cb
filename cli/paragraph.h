// Sentences on standard output: wrapped on a terminal, one line each where a program reads.
#pragma once

#include <string>
#include <string_view>

/// `text` broken at spaces into lines of at most `columns` characters (code points); a longer word
/// stays whole. Lines after the first are indented by two.
std::string wrapped(std::string_view text, size_t columns);

/// Prints the text, which must be escaped, and a newline.
void print_paragraph(std::string_view text);
