// The lines that a person typed, kept between runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

inline constexpr uint64_t most_kept_lines = 1000;

/// $XDG_STATE_HOME/assay/history, else ~/.local/state/assay/history; empty without a home.
std::string default_history_file();

/// The last lines, oldest first. Nothing where there is no file; lines that are none are skipped.
std::vector<std::string> read_history(const std::string& file);

/// Adds a line at the end, as one JSON string. Only its owner may read a file that this makes. What
/// can't be written is told once, on stderr.
void add_to_history(const std::string& file, const std::string& line);
