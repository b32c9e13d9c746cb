// assay invariants: what must not change what an engine computes.
#pragma once

#include <CLI/CLI.hpp>

void add_invariants(CLI::App& app, int& exit_code);
