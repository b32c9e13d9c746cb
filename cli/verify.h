// assay verify: proves a device.
#pragma once

#include <CLI/CLI.hpp>

void add_verify(CLI::App& app, int& exit_code);
