#include "trace/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "trace/recorder.h"

namespace assay::trace {

namespace {

/// Sums over rows; mean and RMS are taken at the end.
struct Sums {
  Summary summary;
  double total = 0, squares = 0;
  bool any = false;

  /// A line as row_statistics gives it.
  void add(std::span<const double> line) {
    const uint64_t nan = uint64_t(line[5]), elements = uint64_t(line[7]);
    summary.nan += nan;
    summary.infinite += uint64_t(line[6]);
    summary.elements += elements;
    if (elements == nan) return;
    const double counted = double(elements - nan);
    summary.min = any ? std::min(summary.min, line[0]) : line[0];
    summary.max = any ? std::max(summary.max, line[1]) : line[1];
    summary.max_abs = std::max(summary.max_abs, line[4]);
    total += line[2] * counted;
    squares += line[3] * line[3] * counted;
    any = true;
  }
  Summary finish() const {
    Summary out = summary;
    const double counted = double(out.elements - out.nan);
    if (counted > 0) out.mean = total / counted, out.rms = std::sqrt(squares / counted);
    return out;
  }
};

/// Whether a line of a hostile file is what row_statistics gives.
bool is_line(std::span<const double> line) {
  const auto count = [](double x) { return x >= 0 && x <= 0x1p53 && x == std::floor(x); };
  return count(line[5]) && count(line[6]) && count(line[7]) && line[5] + line[6] <= line[7];
}

/// Calls visit(tensor, row, line) with the statistics of every row, in execution order.
template <class Visit>
Status visit_lines(const Trace& trace, Visit visit) {
  for (const TraceTensor& tensor : trace.tensors()) {
    const auto values = trace.values(tensor);
    if (!values) return values.error();
    for (uint64_t row = 0; row < values->rows; ++row) {
      const auto line = values->row(row);
      if (!trace.holds_statistics()) {
        visit(tensor, row, row_statistics(std::vector<float>(line.begin(), line.end())));
        continue;
      }
      if (line.size() != statistics_width || !is_line(line))
        return Error{
            fmt::format("{}: '{}' holds no statistics: statistics have eight numbers per token",
                        trace.path(), tensor.key)};
      visit(tensor, row, std::vector<double>(line.begin(), line.end()));
    }
  }
  return ok();
}

}  // namespace

Result<std::vector<Summary>> summarise(const Trace& trace) {
  std::vector<Sums> sums;
  std::map<std::string, size_t> by_name;
  const Status visited =
      visit_lines(trace, [&](const TraceTensor& tensor, uint64_t, const std::vector<double>& line) {
        if (&tensor != trace.find(tensor.step, tensor.name))
          return;  // an earlier node of a product
        const auto [where, fresh] = by_name.try_emplace(tensor.name, sums.size());
        if (fresh) sums.push_back({Summary{.name = tensor.name}});
        sums[where->second].add(line);
      });
  if (!visited) return visited.error();
  std::vector<Summary> out;
  for (const Sums& sum : sums) out.push_back(sum.finish());
  return out;
}

Result<TokenLines> token_lines(const op::Program& program, const Trace& trace) {
  std::map<const TraceTensor*, const std::string*> finished;
  for (uint32_t step = 0; step < trace.steps().size(); ++step)
    for (const op::Operation& operation : program.operations)
      if (const TraceTensor* tensor = trace.find(step, operation))
        finished[tensor] = &operation.name;
  std::vector<uint64_t> before;  // tokens of the steps before each
  uint64_t tokens = 0;
  for (const TraceStep& step : trace.steps()) {
    before.push_back(tokens);
    tokens += step.tokens.size();
  }
  TokenLines lines;
  const Status visited = visit_lines(
      trace, [&](const TraceTensor& tensor, uint64_t row, const std::vector<double>& line) {
        const auto name = finished.find(&tensor);
        if (name == finished.end()) return;
        const TraceStep& step = trace.steps()[tensor.step];
        const bool all = tensor.rows == step.tokens.size();
        if (!all && tensor.rows != step.selected.size()) return;
        lines[*name->second].push_back({before[tensor.step] + (all ? row : step.selected[row]),
                                        line[3], line[4], uint64_t(line[5]), uint64_t(line[6]),
                                        uint64_t(line[7]), trace.rounding(tensor)});
      });
  if (!visited) return visited.error();
  return lines;
}

}  // namespace assay::trace
