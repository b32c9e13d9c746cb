// `assay diff --run`: makes both traces here, on two devices or under two contracts of assay.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common.h"
#include "prompt.h"
#include "trace/trace_file.h"

struct DiffRunFlags {
  std::optional<std::string> model;    ///< none: traces are given; empty: the default model
  std::vector<std::string> devices;    ///< two; one is both sides'
  std::vector<std::string> contracts;  ///< none, one or two
  std::string cache = "f16";
  PromptFlags prompt;
  uint32_t predict = 0, threads = 0;
  ModelFlags faults;  ///< its fault and seed: both runs have them
};
void add_diff_run_flags(CLI::App& command, DiffRunFlags& flags);

/// Runs the prompt on both and opens what was recorded. Errors: as open_engine and record_trace.
assay::Result<std::pair<assay::trace::Trace, assay::trace::Trace>> run_both(
    const DiffRunFlags& flags);
