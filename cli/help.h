// What `--help` prints.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

/// The help of a command and of its own commands, from the option table, as wide as the terminal.
std::string help_of(const CLI::App& app);

/// $COLUMNS where it is set, else the columns of the terminal, else 80.
size_t columns_of_terminal(int descriptor);
