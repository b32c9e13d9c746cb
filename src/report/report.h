// A diff as one HTML page without any other file: where it broke, and whose side is wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "diff/diff.h"
#include "op/program.h"
#include "trace/summary.h"
#include "trace/trace_file.h"

namespace assay::report {

/// What a page is about: what neither the traces' values nor the verdict say.
struct About {
  std::string command;  ///< the line that made the page
  std::string date;     ///< "2026-03-01 12:00 UTC"
  std::string model;    ///< path and hash of the file
  /// Each token of the prompt: its id, and its text where the model's tokenizer is known.
  std::vector<std::pair<int32_t, std::string>> tokens;
  std::string without_text;         ///< why the tokens have no text
  std::vector<std::string> traces;  ///< the files
};

/// UTF-8. All names of files and traces are escaped. The page has no script and loads nothing.
std::string to_html(const op::Program& program, const trace::Trace& a, const trace::Trace& b,
                    const diff::Report& report, const About& about = {});

/// One trace as a table.
struct Summarised {
  std::string engine;
  std::vector<trace::Summary> rows;
};
/// One or two traces: how RMS and the largest value grow from layer to layer, and the table.
/// `sentences`: what is to be said first.
std::string to_html(const std::vector<Summarised>& traces,
                    const std::vector<std::string>& sentences, const About& about = {});

/// Text for an element's content or a quoted attribute: & < > " ' and control characters.
std::string escaped(std::string_view text);

}  // namespace assay::report
