#pragma once

#include <CLI/CLI.hpp>

/// Registers `assay bench`; on use it sets the exit code.
void add_bench(CLI::App& app, int& exit_code);
