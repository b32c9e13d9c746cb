#pragma once

#include <CLI/CLI.hpp>

/// Registers `assay trace record`, `show`, `names` and `replay`; on use they set the exit code.
void add_trace(CLI::App& app, int& exit_code);
/// The others than `record`, below the command `trace`.
void add_trace_show(CLI::App& parent, int& exit_code);
void add_trace_names(CLI::App& parent, int& exit_code);
void add_trace_replay(CLI::App& parent, int& exit_code);
