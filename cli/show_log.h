// `trace show --log FILE`: a debugging log against correct runs of the model.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "prompt.h"
#include "show_growth.h"

struct LogFlags {
  std::string path;
  std::vector<std::string> columns;
  PromptFlags prompt;
};
void add_log_flags(CLI::App& command, LogFlags& flags);

/// Prints the comparison; returns the exit code.
int show_log(const LogFlags& flags, const GrowthFlags& growth, bool all, bool json);
