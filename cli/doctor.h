#pragma once

#include <CLI/CLI.hpp>

/// Registers `assay doctor`; on use it sets the exit code.
void add_doctor(CLI::App& app, int& exit_code);
