#include "diff/logged.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "diff/correct_sizes.h"
#include "diff/logged_words.h"

namespace assay::diff {

using judge::Table;
using trace::LogColumn;
using trace::LogList;
using trace::LogRow;
using trace::Printed;
using trace::TextLog;

namespace {

std::string_view title_of(LogColumn column) {
  switch (column) {
    case LogColumn::rms:
      return "RMS";
    case LogColumn::norm:
      return "L2 norm";
    case LogColumn::deviation:
      return "standard deviation";
    case LogColumn::mean_abs:
      return "mean|x|";
    case LogColumn::max_abs:
      return "max|x|";
    case LogColumn::nan:
      return "NaN count";
    default:
      return trace::name_of(column);
  }
}

/// The digits that are not printed may be any.
bool holds(const Range& range, const Printed& printed) {
  return printed.value + printed.half >= range.low && printed.value - printed.half <= range.high;
}

/// Where layers begin and end.
struct Places {
  std::map<std::string, size_t> by_name;
  std::vector<size_t> outputs;  ///< of each layer
  size_t input = 0;             ///< whose output the first layer reads
  size_t normed = 0;            ///< the last norm's

  explicit Places(const op::Program& program) : outputs(program.layers, 0) {
    const auto& operations = program.operations;
    std::map<uint32_t, size_t> producer;
    bool inside = false;
    for (size_t i = 0; i < operations.size(); ++i) {
      by_name[operations[i].name] = i;
      if (!inside && operations[i].layer == 0) {
        inside = true;
        input = producer[operations[i].inputs[0]];
      }
      if (operations[i].role == op::Role::block_output) outputs[operations[i].layer] = i;
      producer[operations[i].output] = i;
    }
    normed = by_name.contains("out_norm") ? by_name["out_norm"] : outputs.back();
  }

  /// What goes on from layer to layer.
  std::set<size_t> stream() const {
    std::set<size_t> all(outputs.begin(), outputs.end());
    all.insert(input);
    return all;
  }

  std::optional<size_t> of(const LogRow& row, LogReading::Layers layers) const {
    if (!row.name.empty()) return by_name.at(row.name);
    using Layers = LogReading::Layers;
    const uint64_t layer = *row.layer, count = outputs.size();
    if (layers == Layers::outputs)
      return layer < count ? std::optional(outputs[layer]) : std::nullopt;
    if (layers == Layers::hidden_states && layer == count) return normed;
    if (layer > count) return {};
    if (layer == 0) return layers == Layers::from_one ? std::nullopt : std::optional(input);
    return outputs[layer - 1];
  }
};

/// Which row of an operation's sizes a line is of; none for a line that is not compared.
std::optional<uint64_t> row_of(const LogRow& row, LogReading::Tokens reading, uint64_t tokens,
                               const std::optional<uint64_t>& one) {
  using Tokens = LogReading::Tokens;
  if (row.token) return row.pass == 0 && *row.token < tokens ? row.token : std::nullopt;
  if (reading == Tokens::each) return row.pass < tokens ? std::optional(row.pass) : std::nullopt;
  if (row.pass > 0) return {};
  return reading == Tokens::all ? tokens : reading == Tokens::last ? tokens - 1 : *one;
}

/// A log's statistics by one reading.
struct Read {
  LogReading reading;
  std::vector<JudgedLogValue> values;
  uint64_t inside = 0, later = 0;
  std::vector<const LogRow*> strange;  ///< of layers that the model doesn't have
};

/// Whether a size is never negative, so that its ratios mean something.
bool is_magnitude(LogColumn column) {
  return column != LogColumn::mean && column != LogColumn::min && column != LogColumn::max;
}

/// The last number that was inside, of the same statistic and the same tokens.
struct Earlier {
  size_t operation;
  Printed printed;
};

/// Narrows a value's range by what the earlier number lets the same run have.
void follow(const CorrectSizes& sizes, const Earlier& earlier, uint64_t row, LogColumn column,
            JudgedLogValue& value) {
  if (earlier.operation >= value.operation) return;
  const auto ratio = sizes.ratio(earlier.operation, value.operation, row, column);
  if (!ratio) return;
  const Printed& from = earlier.printed;
  const Range range = {std::max(0.0, (from.value - from.half) * ratio->low),
                       (from.value + from.half) * ratio->high};
  if (range.low <= value.range.low && range.high >= value.range.high) return;
  value.range = {std::max(value.range.low, range.low), std::min(value.range.high, range.high)};
  value.from = earlier.operation;
}

Read read_by(const op::Program& program, const Places& places, const CorrectSizes& sizes,
             const TextLog& log, uint64_t tokens, const std::optional<uint64_t>& one,
             LogReading reading) {
  Read out{reading, {}, 0, 0, {}};
  std::map<std::pair<uint64_t, LogColumn>, Earlier> last_inside;
  for (const LogRow& row : log.rows) {
    const auto at = row_of(row, reading.tokens, tokens, one);
    if (!at) {
      ++out.later;
      continue;
    }
    const auto operation = places.of(row, reading.layers);
    if (!operation) {
      out.strange.push_back(&row);
      continue;
    }
    for (const trace::LogValue& value : row.values) {
      const LogColumn column = value.column == LogColumn::max && !reading.largest_value
                                   ? LogColumn::max_abs
                                   : value.column;
      JudgedLogValue judged{.line = row.line,
                            .operation = *operation,
                            .token = {},
                            .statistic = std::string(title_of(column)),
                            .printed = value.printed,
                            .range = {0, 0},
                            .from = {},
                            .inside = false};
      if (*at < tokens) judged.token = *at;
      const auto earlier = last_inside.find({*at, column});
      if (column != LogColumn::nan) judged.range = sizes.range(*operation, *at, column);
      if (earlier != last_inside.end() && is_magnitude(column))
        follow(sizes, earlier->second, *at, column, judged);
      judged.inside = holds(judged.range, value.printed);
      // Many engines compute the end of the model for the last token only.
      if (!judged.inside && column != LogColumn::nan && *at == tokens &&
          program.values[program.operations[*operation].output].selected)
        if (const Range last = sizes.range(*operation, tokens - 1, column);
            holds(last, value.printed)) {
          judged.inside = true;
          judged.range = last;
          judged.token = tokens - 1;
        }
      out.inside += judged.inside;
      if (judged.inside && column != LogColumn::nan)
        last_inside.insert_or_assign({*at, column}, Earlier{*operation, value.printed});
      out.values.push_back(std::move(judged));
    }
  }
  return out;
}

std::vector<LogReading> readings(const TextLog& log, bool one) {
  using Tokens = LogReading::Tokens;
  using Layers = LogReading::Layers;
  const auto has = [&](LogColumn column) {
    return std::ranges::any_of(log.rows, [column](const LogRow& row) {
      return std::ranges::count(row.values, column, &trace::LogValue::column) > 0;
    });
  };
  const bool maxima = has(LogColumn::max), magnitudes = has(LogColumn::max_abs);
  std::vector<LogReading> out;
  for (const Layers layers :
       {Layers::outputs, Layers::from_one, Layers::inputs, Layers::hidden_states})
    for (const Tokens tokens : {Tokens::all, Tokens::last, Tokens::each, Tokens::one})
      for (const bool largest : {false, true})
        if ((tokens == Tokens::one) == one && (maxima || !largest) &&
            (!magnitudes || largest == maxima))
          out.push_back({tokens, layers, largest});
  return out;
}

/// The list that is of the last token's logits; nullptr where there is none.
const LogList* list_of(const op::Program& program, const TextLog& log) {
  for (const LogList& list : log.lists)
    if (!list.layer || *list.layer + 1 == program.layers || *list.layer == program.layers)
      return &list;
  return nullptr;
}

void judge_list(const op::Program& program, const CorrectSizes& sizes, const LogList& list,
                LogReport& report) {
  const std::vector<Range> ranges = sizes.logits();
  std::set<int32_t> listed;
  double lowest = INFINITY;
  for (const trace::LoggedToken& one : list.best) {
    JudgedLogValue judged{.line = one.line,
                          .operation = program.operations.size() - 1,
                          .token = {},
                          .statistic = fmt::format("logit of token {}", one.id),
                          .printed = one.logit,
                          .range = {NAN, NAN},
                          .from = {},
                          .inside = false};
    if (uint32_t(one.id) < ranges.size()) {
      judged.range = ranges[size_t(one.id)];
      judged.inside = holds(judged.range, one.logit);
    }
    listed.insert(one.id);
    lowest = std::min(lowest, one.logit.value + one.logit.half);
    report.values.push_back(std::move(judged));
  }
  for (size_t i = 0; i < ranges.size(); ++i)
    if (ranges[i].low > lowest && !listed.contains(int32_t(i)))
      report.missing.push_back({list.best.back().line, int32_t(i), ranges[i]});
  std::ranges::sort(report.missing, std::ranges::greater(),
                    [](const MissingToken& one) { return one.range.low; });
}

/// How many bits more the log's largest and smallest values tell than chance would, if all of them
/// are numbers of so many significant bits. A value that is none costs eight. One that comes again
/// (values that are clipped do) tells nothing more.
double evidence_of(const TextLog& log, int bits) {
  double evidence = 0;
  std::set<double> seen;
  for (const LogRow& row : log.rows)
    for (const auto& [column, printed] : row.values) {
      const bool single =
          column == LogColumn::max || column == LogColumn::max_abs || column == LogColumn::min;
      if (!single || printed.value == 0 || !std::isfinite(printed.value)) continue;
      const double ulp = std::ldexp(1.0, std::ilogb(printed.value) + 1 - bits);
      if (2 * printed.half >= ulp || !seen.insert(printed.value).second) continue;
      const double off = std::fabs(std::remainder(printed.value, ulp));
      evidence += off <= printed.half * (1 + 1e-9) ? std::log2(ulp / (2 * printed.half)) : -8;
    }
  return evidence;
}

/// The significant bits of the engine's results: an element of a layer's output is printed as it is.
int bits_of(const TextLog& log) {
  constexpr double enough = 20;
  for (const int bits : {8, 11})
    if (evidence_of(log, bits) >= enough) return bits;
  return 24;
}

}  // namespace

std::string_view name_of(LogReading::Tokens tokens) {
  constexpr std::array names = {"all", "last", "each", "one"};
  return names[size_t(tokens)];
}

std::string_view name_of(LogReading::Layers layers) {
  constexpr std::array names = {"outputs", "from_one", "inputs", "hidden_states"};
  return names[size_t(layers)];
}

std::string_view type_of(const LogReading& reading) {
  return reading.bits == 8 ? "bf16" : reading.bits == 11 ? "f16" : "f32";
}

LogReport judge_log(const op::Program& program, const TextLog& log, std::span<const int32_t> tokens,
                    const LogOptions& options) {
  constexpr uint64_t clearly_more = 3;
  LogReport report;
  report.tokens = tokens.size();
  const LogList* list = list_of(program, log);
  if (log.rows.empty() && !list) {
    report.sentence =
        log.lists.empty()
            ? "UNMEASURED: no line of the log fits the columns"
            : "UNMEASURED: the only lists are of layers before the last, whose logits "
              "are not computed";
    return report;
  }
  const Places places(program);
  CorrectSizes sizes(program, tokens.size(), places.stream());
  const int bits = bits_of(log);
  report.runs = visit_correct_runs(
      program, tokens, options.runs, options.seed,
      [&](size_t i, const Table& out, uint64_t runs) { sizes.see(i, out, runs); }, bits);
  std::optional<Read> best;
  uint64_t needed = 0;
  for (const LogReading& reading : readings(log, options.token.has_value())) {
    Read read = read_by(program, places, sizes, log, tokens.size(), options.token, reading);
    if (best && read.inside < needed) continue;
    needed = std::max(read.inside + 1, best ? needed : read.inside + clearly_more);
    best = std::move(read);
  }
  report.reading = best->reading;
  report.reading.bits = bits;
  report.values = std::move(best->values);
  report.later = best->later + log.lists.size() - (list ? 1 : 0);
  if (list) judge_list(program, sizes, *list, report);
  conclude(program, log, best->strange.empty() ? nullptr : best->strange[0], report);
  return report;
}

}  // namespace assay::diff
