#pragma once

#include <CLI/CLI.hpp>

/// Registers `assay logits`; on use it sets the exit code.
void add_logits(CLI::App& app, int& exit_code);
