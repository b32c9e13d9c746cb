#pragma once

#include <CLI/CLI.hpp>

/// Registers `assay run`; on use it sets the exit code.
void add_run(CLI::App& app, int& exit_code);
