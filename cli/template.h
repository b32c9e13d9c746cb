// `assay template`: a chat template rendered without running a model.
#pragma once

#include <CLI/CLI.hpp>

void add_template(CLI::App& app, int& exit_code);
