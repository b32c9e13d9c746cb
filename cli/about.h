// What a page with drawings says of itself: the model, the prompt, the command, the date.
#pragma once

#include <vector>

#include "gguf/file.h"
#include "report/report.h"
#include "trace/trace_file.h"

/// Of traces of one prompt; `file`: the model, nullptr where there is none.
assay::report::About about(const std::vector<const assay::trace::Trace*>& traces,
                           const assay::gguf::File* file);

/// Remembers the program's arguments for about(): to be called first in main().
void remember_command(int argc, const char* const* argv);
