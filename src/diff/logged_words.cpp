#include "diff/logged_words.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace assay::diff {

using trace::LogColumn;
using trace::LogRow;
using trace::TextLog;

namespace {

std::string said(const op::Program& program, const JudgedLogValue& value) {
  if (std::isnan(value.range.low)) return "the model has no such token";
  return fmt::format("correct runs {}{:.5g} to {:.5g}",
                     value.from ? fmt::format("that have the log's {} of {}: ", value.statistic,
                                              program.operations[*value.from].name)
                                : "",
                     value.range.low, value.range.high);
}

std::string plural(uint64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

/// How the log was read.
std::string note_on(const LogReport& report, const TextLog& log) {
  using Tokens = LogReading::Tokens;
  using Layers = LogReading::Layers;
  if (log.rows.empty()) return "";
  std::string out = "the log's lines are read as the ";
  switch (report.reading.layers) {
    case Layers::outputs:
      out += "outputs of layers";
      break;
    case Layers::from_one:
      out += "outputs of layers counted from 1";
      break;
    case Layers::inputs:
      out += "inputs of layers";
      break;
    case Layers::hidden_states:
      out += "inputs of layers, and at the end the normed output";
      break;
  }
  switch (report.reading.tokens) {
    case Tokens::all:
      out += report.tokens == 1 ? "" : fmt::format(", over all {} tokens", report.tokens);
      break;
    case Tokens::last:
      out += ", of the last token";
      break;
    case Tokens::each:
      out += ", one token after the other";
      break;
    case Tokens::one:
      out += ", of the token that --token names";
      break;
  }
  for (const LogRow& row : log.rows)
    for (const trace::LogValue& value : row.values)
      if (value.column == LogColumn::max)
        return out + (report.reading.largest_value ? "; max is the largest value"
                                                   : "; max is the largest magnitude");
  return out;
}

/// "blk.3.out", "logits"
const std::string& name_of(const op::Program& program, const JudgedLogValue& value) {
  return program.operations[value.operation].name;
}

/// What the values that are outside have in common.
std::vector<std::string> pattern_of(const op::Program& program, const LogReport& report) {
  std::vector<std::string> out, places;
  uint64_t outside = 0, sizes = 0;
  size_t last = 0, last_inside = 0;
  std::map<std::string, uint64_t> texts;
  for (const JudgedLogValue& value : report.values) {
    if (value.statistic.starts_with("logit of")) continue;
    ++sizes;
    if (value.inside) {
      last_inside = std::max(last_inside, value.operation);
      continue;
    }
    ++outside;
    last = std::max(last, value.operation);
    if (places.empty() || places.back() != name_of(program, value))
      places.push_back(name_of(program, value));
    if (value.statistic.starts_with("max") || value.statistic == "min")
      ++texts[fmt::format("{} is {}", value.statistic, value.printed.text)];
  }
  if (outside == 0) return out;
  constexpr size_t most = 6;
  const size_t shown = std::min(places.size(), most);
  out.push_back(
      fmt::format("{} of {} outside: {}{}", outside, plural(sizes, "value"),
                  fmt::join(places.begin(), places.begin() + std::ptrdiff_t(shown), ", "),
                  places.size() > shown ? fmt::format(" and {} more", places.size() - shown) : ""));
  if (last_inside > last)
    out.push_back(
        fmt::format("what follows {} is inside again: the model went on with other values "
                    "than those that were printed there",
                    program.operations[last].name));
  for (const auto& [text, count] : texts)
    if (count > 1) out.push_back(fmt::format("{} in {} of these lines", text, count));
  return out;
}

std::string of_runs(const LogReport& report) {
  return fmt::format("{}, {}", plural(report.runs, "run"), plural(report.tokens, "token"));
}

}  // namespace

void conclude(const op::Program& program, const TextLog& log, const LogRow* strange,
              LogReport& report) {
  std::ranges::stable_sort(report.values, {}, &JudgedLogValue::operation);
  if (const std::string note = note_on(report, log); !note.empty()) report.notes.push_back(note);
  if (report.reading.bits < 24)
    report.notes.push_back(fmt::format(
        "the largest values are numbers of {0}: the log is compared with runs that keep every "
        "result in {0}",
        type_of(report.reading)));
  for (std::string& line : pattern_of(program, report)) report.notes.push_back(std::move(line));
  for (const JudgedLogValue& value : report.values)
    if (!value.inside && !report.first) report.first = value;
  if (report.first) {
    const JudgedLogValue& first = *report.first;
    const op::Operation& operation = program.operations[first.operation];
    const std::string where =
        operation.layer == op::none ? "" : fmt::format("layer {}, ", operation.layer);
    report.verdict = Verdict::fail;
    report.sentence =
        fmt::format("FAIL first outside the ensemble: {} ({}line {}: {}{} is {}, {}; {})",
                    operation.name, where, first.line, first.statistic,
                    first.token ? fmt::format(" of the token at index {}", *first.token) : "",
                    first.printed.text, said(program, first), of_runs(report));
    return;
  }
  if (!report.missing.empty()) {
    const MissingToken& first = report.missing.front();
    report.verdict = Verdict::fail;
    report.sentence = fmt::format(
        "FAIL the list of best tokens (line {}) lacks token {}, whose logit is {:.5g} to {:.5g} in "
        "correct runs ({})",
        first.line, first.id, first.range.low, first.range.high, of_runs(report));
    return;
  }
  if (strange != nullptr) {
    report.sentence = fmt::format(
        "UNMEASURED: line {} is of layer {}, and the model has {} layers: the log is of "
        "another model",
        strange->line, *strange->layer, program.layers);
    return;
  }
  if (report.values.empty()) {
    report.sentence = "UNMEASURED: no line of the log can be compared";
    return;
  }
  std::set<size_t> operations;
  for (const JudgedLogValue& value : report.values) operations.insert(value.operation);
  report.verdict = Verdict::pass;
  report.sentence = fmt::format(
      "PASS each of {} lies where correct runs of this model do ({}; {}){}; a log has sizes only: "
      "'assay diff' with a trace judges every value",
      plural(report.values.size(), "value"), plural(operations.size(), "operation"),
      of_runs(report),
      report.later
          ? fmt::format("; {} of later runs not compared", plural(report.later, "line or list"))
          : "");
}

}  // namespace assay::diff
