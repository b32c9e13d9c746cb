#pragma once

#include <CLI/CLI.hpp>

/// Registers `assay trace record` and `assay trace show`; on use they set the exit code.
void add_trace(CLI::App& app, int& exit_code);
/// The latter, below the command `trace`.
void add_trace_show(CLI::App& parent, int& exit_code);
