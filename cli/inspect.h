// assay inspect MODEL [--json] [--weights]: what a GGUF file says and holds.
#pragma once

#include <CLI/CLI.hpp>

/// Registers the subcommand; when it has run, `exit_code` holds its exit code.
void add_inspect(CLI::App& app, int& exit_code);
