// A diff as one HTML page without any other file: where it broke, and whose side is wrong.
#pragma once

#include <string>

#include "diff/diff.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::report {

/// UTF-8. All names of files and traces are escaped. The page has no script and loads nothing.
std::string to_html(const op::Program& program, const trace::Trace& a, const trace::Trace& b,
                    const diff::Report& report);

/// Text for an element's content or a quoted attribute: & < > " ' and control characters.
std::string escaped(std::string_view text);

}  // namespace assay::report
