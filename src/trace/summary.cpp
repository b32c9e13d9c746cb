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

}  // namespace

Result<std::vector<Summary>> summarise(const Trace& trace) {
  std::vector<Sums> sums;
  std::map<std::string, size_t> by_name;
  for (const TraceTensor& tensor : trace.tensors()) {
    const auto values = trace.values(tensor);
    if (!values) return values.error();
    const auto [where, fresh] = by_name.try_emplace(tensor.name, sums.size());
    if (fresh) sums.push_back({Summary{.name = tensor.name}});
    for (uint64_t row = 0; row < values->rows; ++row) {
      const auto line = values->row(row);
      if (!trace.holds_statistics()) {
        sums[where->second].add(row_statistics(std::vector<float>(line.begin(), line.end())));
        continue;
      }
      if (line.size() != statistics_width || !is_line(line))
        return Error{fmt::format("{}: '{}' holds no statistics: they have eight numbers a token",
                                 trace.path(), tensor.key)};
      sums[where->second].add(line);
    }
  }
  std::vector<Summary> out;
  for (const Sums& sum : sums) out.push_back(sum.finish());
  return out;
}

}  // namespace assay::trace
