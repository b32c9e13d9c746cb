// What a page with drawings says of itself: the model, the prompt, the command, the date.
#pragma once

#include <vector>

#include "report/report.h"
#include "trace/trace_file.h"
#include "weights.h"

/// Of traces of one prompt; `weights`: the model's, nullptr where there are none.
assay::report::About about(const std::vector<const assay::trace::Trace*>& traces,
                           const Weights* weights);

/// Remembers the program's arguments for about(): to be called first in main().
void remember_command(int argc, const char* const* argv);
