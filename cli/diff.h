#pragma once

#include <CLI/CLI.hpp>

/// Registers `assay diff`; on use it sets the exit code.
void add_diff(CLI::App& app, int& exit_code);
