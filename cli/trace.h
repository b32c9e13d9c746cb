#pragma once

#include <CLI/CLI.hpp>

/// Registers `assay trace record`, `show` and `replay`; on use they set the exit code.
void add_trace(CLI::App& app, int& exit_code);
/// The last two, below the command `trace`.
void add_trace_show(CLI::App& parent, int& exit_code);
void add_trace_replay(CLI::App& parent, int& exit_code);
