// What `--help` prints.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

/// The help of a command and of its own commands, from the option table, as wide as the terminal.
std::string help_of(const CLI::App& app);
