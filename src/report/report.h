// A diff as one HTML page without any other file: where it broke, and whose side is wrong.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "diff/diff.h"
#include "op/program.h"
#include "trace/summary.h"
#include "trace/trace_file.h"

namespace assay::report {

/// UTF-8. All names of files and traces are escaped. The page has no script and loads nothing.
std::string to_html(const op::Program& program, const trace::Trace& a, const trace::Trace& b,
                    const diff::Report& report);

/// One trace as a table.
struct Summarised {
  std::string engine;
  std::vector<trace::Summary> rows;
};
/// One or two traces: how RMS and the largest value grow from layer to layer, and the table.
/// `sentences`: what is to be said first.
std::string to_html(const std::vector<Summarised>& traces,
                    const std::vector<std::string>& sentences);

/// Text for an element's content or a quoted attribute: & < > " ' and control characters.
std::string escaped(std::string_view text);

}  // namespace assay::report
