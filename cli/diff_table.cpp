#include "diff_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "common.h"
#include "judge/formulas.h"

using assay::diff::JudgedOperation;
using assay::diff::Report;
using assay::diff::Verdict;
using assay::op::Operation;

namespace {

/// A line: operations of one name but for the layer, with the same verdict on each side.
struct Line {
  std::string name;
  std::vector<uint32_t> layers;  // ascending
  JudgedOperation a, b;          // the worst
  double apart = -1, percentile = -1;
};

/// "blk.3.down" as "down"; what stands outside the layers keeps its name.
std::string kind_of(const Operation& operation) {
  const std::string block = fmt::format("blk.{}.", operation.layer);
  return operation.name.starts_with(block) ? operation.name.substr(block.size()) : operation.name;
}

/// "3", "0 to 5", "0 to 5, 9, 12 to 14", "0 to 5, 9, …": it fits its column.
std::string in_ranges(const std::vector<uint32_t>& numbers) {
  std::string text;
  for (size_t i = 0, ranges = 0; i < numbers.size(); ++ranges) {
    size_t end = i;
    while (end + 1 < numbers.size() && numbers[end + 1] == numbers[end] + 1) ++end;
    if (ranges == 2) return text + ", …";
    text += text.empty() ? "" : ", ";
    text += end == i ? fmt::format("{}", numbers[i])
                     : fmt::format("{} to {}", numbers[i], numbers[end]);
    i = end + 1;
  }
  return text.empty() ? "-" : text;
}

std::string cell(const JudgedOperation& operation) {
  if (operation.verdict == Verdict::unmeasured) return "unmeasured";
  if (operation.seen.elements == 0) return "-";
  const uint64_t ties = operation.seen.ties;
  return fmt::format("{}{:.3g}/{:.3g} u{}", operation.verdict == Verdict::fail ? "FAIL " : "",
                     operation.seen.max_u, operation.seen.limit_u,
                     ties ? fmt::format(" {} tie{}", ties, ties == 1 ? "" : "s") : "");
}

/// seen.add() keeps the worst place and sums the counts.
void add(JudgedOperation& all, const JudgedOperation& one) {
  if (one.seen.elements > 0) all.seen.add(one.seen);
}

std::vector<Line> lines_of(const assay::op::Program& program, const Report& report, bool all) {
  std::vector<Line> lines;
  for (size_t i = 0; i < program.operations.size(); ++i) {
    const Operation& operation = program.operations[i];
    const JudgedOperation &a = report.a.operations[i], &b = report.b.operations[i];
    const std::string name = all ? operation.name : kind_of(operation);
    auto line = std::ranges::find_if(lines, [&](const Line& one) {
      return one.name == name && one.a.verdict == a.verdict && one.b.verdict == b.verdict;
    });
    if (line == lines.end()) {
      Line fresh{name, {}, {}, {}};
      fresh.a.verdict = a.verdict;
      fresh.b.verdict = b.verdict;
      // Beside the others of its name.
      auto place = std::find_if(lines.rbegin(), lines.rend(),
                                [&](const Line& one) { return one.name == name; });
      line = lines.insert(place == lines.rend() ? lines.end() : place.base(), std::move(fresh));
    }
    if (operation.layer != assay::op::none) line->layers.push_back(operation.layer);
    add(line->a, a);
    add(line->b, b);
    line->apart = std::max(line->apart, report.differences[i]);
    line->percentile = std::max(line->percentile, report.percentile[i]);
  }
  return lines;
}

}  // namespace

void print_diff_table(const assay::op::Program& program, const Report& report, bool all) {
  fmt::print("a  {} ({})\n", escaped(report.a.engine, false), report.a.contract);
  if (!report.alone) fmt::print("b  {} ({})\n", escaped(report.b.engine, false), report.b.contract);
  const char* each = all ? "error" : "worst error";
  const std::vector<Line> lines = lines_of(program, report, all);
  size_t name = all ? 20 : 16, layers = 16;
  for (const Line& line : lines) {
    name = std::max(name, line.name.size() + 2);
    layers = std::max(layers, in_ranges(line.layers).size() + 2);
  }
  fmt::print("\n{:<{}}{:<{}}", "operation", name, "layers", layers);
  if (report.alone)
    fmt::print("{}/limit\n", each);
  else
    fmt::print("{:<26}{:<26}|a-b|/|b|\n", fmt::format("a: {}/limit", each),
               fmt::format("b: {}/limit", each));
  for (const Line& line : lines) {
    fmt::print("{:<{}}{:<{}}", line.name, name, in_ranges(line.layers), layers);
    if (report.alone) {
      fmt::print("{}\n", cell(line.a));
      continue;
    }
    const std::string place =
        line.percentile < 0 ? "" : fmt::format("  {:3.0f} %", line.percentile);
    fmt::print("{:<26}{:<26}{}{}\n", cell(line.a), cell(line.b),
               line.apart < 0 ? "-" : fmt::format("{:.2e}", line.apart), place);
  }
  fmt::print("\n");
}
