// The project's Python package, run as a program: capture of other engines.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

/// Runs `PYTHON -m assay.capture ARGUMENTS`, with the folder python/ beside this program's build on
/// PYTHONPATH where there is one. PYTHON is `python`, else $ASSAY_PYTHON, else python3.
/// What it prints to stderr. Errors: it can't be started; it fails (its last line says why).
assay::Result<std::string> run_capture(const std::string& python,
                                       const std::vector<std::string>& arguments);
