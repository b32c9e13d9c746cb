#include "diff/logged.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "diff/moments.h"

namespace assay::diff {

using judge::Table;
using trace::LogColumn;
using trace::LogList;
using trace::LogRow;
using trace::Printed;
using trace::TextLog;

namespace {

constexpr std::array statistics = {LogColumn::rms,  LogColumn::norm,     LogColumn::deviation,
                                   LogColumn::mean, LogColumn::mean_abs, LogColumn::max_abs,
                                   LogColumn::max,  LogColumn::min};
using Sizes = std::array<double, statistics.size()>;

size_t place_of(LogColumn column) {
  return size_t(std::ranges::find(statistics, column) - statistics.begin());
}

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

/// Sums over one row or several.
struct Sums {
  double count = 0, squares = 0, sum = 0, magnitudes = 0, low = INFINITY, high = -INFINITY;

  void add(std::span<const double> row) {
    count += double(row.size());
    for (const double x : row) {
      squares += x * x;
      sum += x;
      magnitudes += std::fabs(x);
      low = std::min(low, x);
      high = std::max(high, x);
    }
  }
  void add(const Sums& other) {
    count += other.count;
    squares += other.squares;
    sum += other.sum;
    magnitudes += other.magnitudes;
    low = std::min(low, other.low);
    high = std::max(high, other.high);
  }
  Sizes sizes() const {
    const double mean = sum / count;
    return {std::sqrt(squares / count),
            std::sqrt(squares),
            std::sqrt(std::max(0.0, squares / count - mean * mean)),
            mean,
            magnitudes / count,
            std::max(-low, high),
            high,
            low};
  }
};

/// What correct runs give: the sizes of each operation's output, of each token and of all of them
/// (the last row), and the last token's logits.
class CorrectSizes {
 public:
  /// Of `followed` operations every run's sizes are kept.
  CorrectSizes(const op::Program& program, uint64_t tokens, const std::set<size_t>& followed)
      : tokens_(tokens),
        last_(program.operations.size() - 1),
        sizes_(program.operations.size(), std::vector<Row>(tokens + 1)),
        logits_(program.vocabulary) {
    for (const size_t operation : followed) kept_[operation].resize(tokens + 1);
  }

  void see(size_t operation, const Table& out, uint64_t runs) {
    if (out.data.empty()) return;
    for (uint64_t run = 0; run < runs; ++run) {
      Sums all;
      for (uint64_t t = 0; t < tokens_; ++t) {
        Sums one;
        one.add(out.row(run * tokens_ + t));
        add(operation, t, one);
        all.add(one);
      }
      add(operation, tokens_, all);
      if (operation != last_) continue;
      const auto row = out.row(run * tokens_ + tokens_ - 1);
      for (size_t i = 0; i < logits_.size(); ++i) logits_[i].add(row[i]);
    }
  }

  /// Mean ± `deviations` standard deviations and 2^-20 for f32 sums, both of the statistic's own
  /// scale: a mean or a minimum may be 0. As in an Ensemble a token's relative deviation is no less
  /// than that of the operation's other tokens.
  Range range(size_t operation, uint64_t row, LogColumn column) const {
    const size_t place = place_of(column), of_rms = place_of(LogColumn::rms);
    const std::vector<Row>& rows = sizes_[operation];
    const auto scale = [&](const Row& one) {
      return std::max(std::fabs(one[place].mean()), one[of_rms].mean());
    };
    double relative = 0;
    for (uint64_t t = 0; t < tokens_; ++t)
      if (scale(rows[t]) > 0)
        relative += rows[t][place].variance() / (scale(rows[t]) * scale(rows[t]) * double(tokens_));
    if (row == tokens_) relative /= double(tokens_);
    const double size = scale(rows[row]);
    const double variance = std::max(rows[row][place].variance(), relative * size * size);
    return around(rows[row][place].mean(), variance, size);
  }

  /// Of the ratio of a size to that of an earlier operation in the same run. Where one channel is
  /// much larger than all others, runs differ in its size, but hardly in how it goes on.
  std::optional<Range> ratio(size_t earlier, size_t operation, uint64_t row,
                             LogColumn column) const {
    const auto from = kept_.find(earlier), to = kept_.find(operation);
    if (from == kept_.end() || to == kept_.end()) return {};
    Moments ratios;
    const size_t place = place_of(column);
    for (size_t run = 0; run < to->second[row].size(); ++run)
      ratios.add(to->second[row][run][place] / from->second[row][run][place]);
    return around(ratios.mean(), ratios.variance(), ratios.mean());
  }

  /// Logits of one row are off by similar amounts, whatever their size.
  std::vector<Range> logits() const {
    double variance = 0, scale = 0;
    for (const Moments& one : logits_) {
      variance += one.variance() / double(logits_.size());
      scale = std::max(scale, std::fabs(one.mean()));
    }
    std::vector<Range> out;
    for (const Moments& one : logits_)
      out.push_back(around(one.mean(), std::max(variance, one.variance()), scale));
    return out;
  }

 private:
  using Row = std::array<Moments, statistics.size()>;

  void add(size_t operation, uint64_t row, const Sums& sums) {
    const Sizes sizes = sums.sizes();
    for (size_t i = 0; i < sizes.size(); ++i) sizes_[operation][row][i].add(sizes[i]);
    if (const auto kept = kept_.find(operation); kept != kept_.end())
      kept->second[row].push_back(sizes);
  }
  static Range around(double mean, double variance, double scale) {
    const double wide = deviations * std::sqrt(variance) + 0x1p-20 * scale;
    return {mean - wide, mean + wide};
  }

  const uint64_t tokens_;
  const size_t last_;
  std::vector<std::vector<Row>> sizes_;
  std::map<size_t, std::vector<std::vector<Sizes>>> kept_;  // (operation; tokens + 1, runs)
  std::vector<Moments> logits_;
};

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

/// How many bits more the log's largest and smallest values tell than chance would, if all of them
/// are numbers of so many significant bits. A value that is none costs eight.
double evidence_of(const TextLog& log, int bits) {
  double evidence = 0;
  for (const LogRow& row : log.rows)
    for (const auto& [column, printed] : row.values) {
      const bool single =
          column == LogColumn::max || column == LogColumn::max_abs || column == LogColumn::min;
      if (!single || printed.value == 0 || !std::isfinite(printed.value)) continue;
      const double ulp = std::ldexp(1.0, std::ilogb(printed.value) + 1 - bits);
      if (2 * printed.half >= ulp) continue;
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

void conclude(const op::Program& program, const TextLog& log, const Read& read, LogReport& report) {
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
  if (!read.strange.empty()) {
    report.sentence = fmt::format(
        "UNMEASURED: line {} is of layer {}, and the model has {} layers: the log is of "
        "another model",
        read.strange[0]->line, *read.strange[0]->layer, program.layers);
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
  conclude(program, log, *best, report);
  return report;
}

}  // namespace assay::diff
