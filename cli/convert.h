// assay convert: a GGUF file from a Hugging Face folder.
#pragma once

#include <CLI/CLI.hpp>

void add_convert(CLI::App& app, int& exit_code);
