// The command line before it is parsed: commands and options that are not there are refused here,
// with what was probably meant; llama.cpp's options of equal meaning get our names.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/result.h"

/// What `app` can parse. Errors: an unknown command or option, one of llama.cpp's that has no
/// equal here, an option without its value; each names the equivalent or the nearest name. Sets
/// `called_command`.
assay::Result<std::vector<std::string>> read_arguments(const CLI::App& app,
                                                       std::vector<std::string> arguments);
