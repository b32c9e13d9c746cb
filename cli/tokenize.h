// assay tokenize: text to token ids.
#pragma once

#include <CLI/CLI.hpp>

/// `exit_code` is set when the subcommand has run.
void add_tokenize(CLI::App& app, int& exit_code);
