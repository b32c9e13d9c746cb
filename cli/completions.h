// What a shell needs to complete the program's commands and options, and the man page: all of it
// from the option table.
#pragma once

#include <string>

#include "option_table.h"

std::string bash_completions(const CommandRow& program);
std::string zsh_completions(const CommandRow& program);
std::string fish_completions(const CommandRow& program);

/// assay(1), in the macros of man(7).
std::string man_page(const CommandRow& program);

/// `assay completions SHELL` and `assay man-page`, for `cmake --install` and for users.
void add_completions(CLI::App& app);
