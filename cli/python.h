// The project's Python package, run as a program: capture of other engines.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

/// How llama.cpp is run, through llama-cpp-python.
struct LlamaCppFlags {
  std::string python, flash = "auto";
  uint32_t gpu_layers = 0;
};
void add_llama_cpp_flags(CLI::App& command, LlamaCppFlags& flags);

/// Runs `PYTHON -m assay.capture ARGUMENTS`, with the folder python/ beside this program's build on
/// PYTHONPATH where there is one. PYTHON is `python`, else $ASSAY_PYTHON, else python3.
/// What it prints to stderr. Errors: it can't be started; it fails (its last line says why).
assay::Result<std::string> run_capture(const std::string& python,
                                       const std::vector<std::string>& arguments);

/// The same program and environment for another module of the package: `PYTHON -m MODULE`.
struct PythonModule {
  std::string program;                            ///< PYTHON
  std::vector<std::string> command, environment;  ///< as run_child takes them
};
PythonModule python_module(const std::string& python, const std::string& module,
                           const std::vector<std::string>& arguments);
/// Why a module that could be started ended: its own sentence, or that of Python. `how`: as Ended
/// says it.
assay::Error why_ended(const PythonModule& module, const std::string& name, const std::string& err,
                       const std::string& how);
