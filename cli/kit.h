// assay kit MODEL -o DIR: unit tests for anyone's kernels, on real data.
#pragma once

#include <CLI/CLI.hpp>

/// Registers the subcommand; when it has run, `exit_code` holds its exit code.
void add_kit(CLI::App& app, int& exit_code);
