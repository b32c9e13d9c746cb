// `assay chat`: a conversation in the terminal.
#pragma once

#include <CLI/CLI.hpp>

void add_chat(CLI::App& app, int& exit_code);
