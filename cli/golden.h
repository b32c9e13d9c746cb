// assay golden update|check: a model's bits in a file, and whether they still are the same.
#pragma once

#include <CLI/CLI.hpp>

void add_golden(CLI::App& app, int& exit_code);
