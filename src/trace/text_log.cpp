#include "trace/text_log.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <regex>
#include <set>
#include <tuple>

namespace assay::trace {

namespace {

struct ColumnFacts {
  LogColumn column;
  std::string_view name;
  std::vector<std::string_view> labels;  ///< in lower case; the first that fits is taken
};

const std::vector<ColumnFacts>& facts() {
  using enum LogColumn;
  static const std::vector<std::string_view> largest = {"max|x|",  "max |x|", "max_abs", "max abs",
                                                        "abs_max", "abs max", "maxabs",  "absmax",
                                                        "|max|",   "max"};
  static const std::vector<ColumnFacts> all = {
      {skip, "_", {}},
      {layer, "layer", {"layers", "layer", "block", "blk", "l"}},
      {name, "name", {}},
      {token, "token", {"token", "tok", "position", "pos"}},
      {id, "id", {"token id", "token_id", "token", "id"}},
      {logit, "logit", {"logits", "logit", "score"}},
      {top, "top", {}},
      {rms, "rms", {"rms"}},
      {norm, "norm", {"l2 norm", "l2_norm", "l2norm", "norm", "l2"}},
      {deviation, "std", {"stddev", "std"}},
      {mean, "mean", {"mean", "average", "avg"}},
      {mean_abs,
       "mean_abs",
       {"mean|x|", "mean |x|", "mean_abs", "mean abs", "abs_mean", "abs mean"}},
      {max_abs, "max_abs", largest},
      {max, "max", largest},
      {min, "min", {"min"}},
      {nan, "nan", {"nans", "nan"}}};
  return all;
}

const ColumnFacts& facts_of(LogColumn column) {
  return *std::ranges::find(facts(), column, &ColumnFacts::column);
}

bool is_statistic(LogColumn column) {
  return column >= LogColumn::rms;
}

bool is_whole(LogColumn column) {
  using enum LogColumn;
  return column == layer || column == token || column == id || column == nan;
}

bool letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool digit(char c) {
  return c >= '0' && c <= '9';
}
bool word(char c) {
  return letter(c) || digit(c) || c == '_';
}

/// A number of a line, at [begin, end).
struct Number {
  size_t begin = 0, end = 0;
  Printed printed;
  bool whole = false;  ///< digits alone
};

/// The number that begins at `at`; none where there is none.
std::optional<Number> number_at(std::string_view line, size_t at) {
  size_t i = at;
  if (i < line.size() && (line[i] == '-' || line[i] == '+')) ++i;
  for (const std::string_view name : {"nan", "infinity", "inf"}) {
    if (line.substr(i, name.size()) != name) continue;
    const double value = name == "nan" ? std::numeric_limits<double>::quiet_NaN()
                                       : std::numeric_limits<double>::infinity();
    const std::string text(line.substr(at, i + name.size() - at));
    return Number{at, i + name.size(), {line[at] == '-' ? -value : value, 0, text}, false};
  }
  const size_t digits = i;
  while (i < line.size() && digit(line[i])) ++i;
  size_t count = i - digits;
  int decimals = 0;
  bool point = false;
  if (i < line.size() && line[i] == '.') {
    point = true;
    ++i;
    while (i < line.size() && digit(line[i])) ++i, ++decimals, ++count;
  }
  if (count == 0) return {};
  int exponent = 0;
  size_t e = i;
  if (e < line.size() && line[e] == 'e') {
    ++e;
    if (e < line.size() && line[e] == '+') ++e;
    const auto read = std::from_chars(line.data() + e, line.data() + line.size(), exponent);
    if (read.ec == std::errc())
      i = size_t(read.ptr - line.data());
    else
      exponent = 0;
  }
  const size_t from = line[at] == '+' ? at + 1 : at;
  Number out{at,
             i,
             {0, 0.5 * std::pow(10.0, exponent - decimals), std::string(line.substr(at, i - at))},
             !point && i == digits + count && digits == at};
  std::from_chars(line.data() + from, line.data() + i, out.printed.value);
  return out;
}

/// The numbers that are no part of a word: neither "f16" nor "blk.0" nor "5ms".
std::vector<Number> numbers_of(std::string_view line) {
  std::vector<Number> out;
  for (size_t i = 0; i < line.size();) {
    const bool sign = (line[i] == '-' || line[i] == '+') && (i == 0 || !word(line[i - 1]));
    const size_t first = i + sign;
    const bool begins = first < line.size() && (word(line[first]) || line[first] == '.');
    if (!begins) {
      ++i;
      continue;
    }
    const auto number = number_at(line, i);
    const bool ends =
        number && (number->end == line.size() || !word(line[number->end])) &&
        !(number->end + 1 < line.size() && line[number->end] == '.' && word(line[number->end + 1]));
    if (ends) {
      out.push_back(*number);
      i = number->end;
      continue;
    }
    for (i = first; i < line.size() && (word(line[i]) || line[i] == '.');) ++i;
  }
  return out;
}

/// The number behind a label; the label itself belongs to [begin, end). What is attached to the label
/// is no sign and no point: "layer-3", "blk.0".
std::optional<Number> labelled(std::string_view line, std::string_view label) {
  constexpr size_t widest = 4;  // characters between a label and its number: " = ", ": ", " | "
  for (size_t at = line.find(label); at != line.npos; at = line.find(label, at + 1)) {
    if (at > 0 && (letter(line[at - 1]) || digit(line[at - 1]))) continue;
    const size_t end = at + label.size(), limit = std::min(line.size(), end + widest + 1);
    size_t first = end;
    while (first < limit && !letter(line[first]) && !digit(line[first])) ++first;
    if (first >= limit || (first == end && letter(line[first]))) continue;
    if (first > end + 1 && line[first - 1] == '.') --first;
    if (first > end + 1 && (line[first - 1] == '-' || line[first - 1] == '+')) --first;
    auto number = number_at(line, first);
    if (!number || (number->end < line.size() && letter(line[number->end]))) continue;
    number->begin = at;
    return number;
  }
  return {};
}

/// Without colours of a terminal, in lower case.
std::string plain(std::string_view line) {
  static const std::regex colour("\x1b\\[[0-9;]*[A-Za-z]");
  std::string out = std::regex_replace(std::string(line), colour, "");
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  return out;
}

/// The texts of tokens may hold digits: what stands in quotes becomes spaces.
std::string without_quoted(std::string line) {
  for (const char quote : {'"', '\'', '`'}) {
    size_t begin = line.find(quote);
    while (begin != line.npos) {
      const size_t end = line.find(quote, begin + 1);
      if (end == line.npos) break;
      std::fill(line.begin() + std::ptrdiff_t(begin), line.begin() + std::ptrdiff_t(end + 1), ' ');
      begin = line.find(quote, end + 1);
    }
  }
  return line;
}

void blank(std::string& line, size_t begin, size_t end) {
  std::fill(line.begin() + std::ptrdiff_t(begin), line.begin() + std::ptrdiff_t(end), ' ');
}

/// What a line has, by its columns; those without a value are left out.
using Cells = std::vector<std::pair<LogColumn, Number>>;

std::optional<Cells> cells_of(std::string line, const LogColumns& columns) {
  Cells cells;
  LogColumns left;
  for (const LogColumn column : columns) {
    if (column == LogColumn::name || column == LogColumn::top) continue;
    std::optional<Number> found;
    for (const std::string_view label : facts_of(column).labels) {
      found = labelled(line, label);
      if (found) break;
    }
    if (!found) {
      left.push_back(column);
      continue;
    }
    blank(line, found->begin, found->end);
    cells.emplace_back(column, *found);
  }
  const bool all = std::ranges::all_of(left, [](LogColumn c) { return c == LogColumn::skip; });
  if (!all || cells.empty()) {
    const std::vector<Number> numbers = numbers_of(line);
    if (numbers.size() != left.size()) return {};
    for (size_t i = 0; i < left.size(); ++i) cells.emplace_back(left[i], numbers[i]);
  }
  for (const auto& [column, number] : cells)
    if (is_whole(column) && !number.whole) return {};
  std::erase_if(cells, [](const auto& cell) { return cell.first == LogColumn::skip; });
  return cells;
}

template <class T>
std::optional<T> whole_number(const Number& number) {
  const double value = number.printed.value;
  if (value > double(std::numeric_limits<int32_t>::max())) return {};
  return T(value);
}

/// The token:logit pairs of a line: a whole number, and next to it one with a point.
std::vector<LoggedToken> pairs_of(const std::string& line, uint64_t place) {
  std::vector<LoggedToken> out;
  const std::vector<Number> numbers = numbers_of(line);
  for (size_t i = 0; i + 1 < numbers.size(); ++i) {
    const Number &id = numbers[i], &logit = numbers[i + 1];
    const std::string_view between = std::string_view(line).substr(id.end, logit.begin - id.end);
    const bool joined = between.find(':') != between.npos || between.find('=') != between.npos;
    if (!id.whole || (logit.whole && !joined) || !whole_number<int32_t>(id)) continue;
    out.push_back({place, *whole_number<int32_t>(id), logit.printed});
    ++i;
  }
  if (!numbers.empty() && !numbers[0].whole) out.clear();
  return out;
}

/// Reads lines one after the other.
class Reader {
 public:
  Reader(std::span<const LogColumns> columns, std::span<const std::string> operations)
      : columns_(columns), operations_(operations.begin(), operations.end()) {}

  void line(uint64_t place, std::string_view original) {
    const std::string lower = plain(original);
    if (std::ranges::none_of(lower, word)) return;
    ++log_.lines;
    if (tokens(lower)) return;
    const std::string text = without_quoted(lower);
    for (const LogColumns& columns : columns_)
      if (row(place, text, columns)) return;
    log_.unread.push_back({place, std::string(original)});
  }

  TextLog finish() { return std::move(log_); }

 private:
  /// "tokens: [1, 2, 3]", "input_ids = 1 2 3". One number without brackets is a count.
  bool tokens(const std::string& line) {
    static const std::regex list(
        R"((?:^|[^a-z])(?:tokens|token[ _]ids|input[ _]ids|prompt[ _]ids|ids)["']?\s*[:=]?\s*(?:tensor)?\s*([\[({]*)\s*(\d+(?:\s*[,\s]\s*\d+)*)\s*(?:[\])}]|$))");
    std::smatch found;
    if (!std::regex_search(line, found, list)) return false;
    std::vector<int32_t> ids;
    const std::string numbers = found[2];
    for (const Number& number : numbers_of(numbers)) {
      const auto id = whole_number<int32_t>(number);
      if (!id) return false;
      ids.push_back(*id);
    }
    if (ids.size() < 2 && found[1].length() == 0) return false;
    if (!std::ranges::count(log_.tokens, ids)) log_.tokens.push_back(std::move(ids));
    return true;
  }

  /// A field of the line that is an operation's name; it is blanked.
  std::string operation_in(std::string& line, std::optional<uint32_t> layer) const {
    const auto field = [](char c) { return word(c) || c == '.'; };
    for (size_t i = 0; i < line.size(); ++i) {
      if (!field(line[i])) continue;
      size_t end = i;
      while (end < line.size() && field(line[end])) ++end;
      std::string name = line.substr(i, end - i);
      while (name.ends_with('.')) name.pop_back();
      const std::string in_layer = layer ? fmt::format("blk.{}.{}", *layer, name) : name;
      for (const std::string& one : {in_layer, name})
        if (operations_.contains(one)) {
          blank(line, i, i + name.size());
          return one;
        }
      i = end;
    }
    return "";
  }

  bool row(uint64_t place, std::string line, const LogColumns& columns) {
    const bool listed = std::ranges::count(columns, LogColumn::top) > 0;
    const bool sized = std::ranges::any_of(columns, is_statistic);
    std::vector<LoggedToken> best;
    if (listed) {
      static const std::regex label(R"((?:^|[^a-z])top[-_ ]?(\d+|k)?(?:[^a-z0-9]|$))");
      std::smatch found;
      if (std::regex_search(line, found, label)) {
        best = pairs_of(found.suffix(), place);
        line.resize(size_t(found.position()));
      } else if (best = pairs_of(line, place); best.size() >= 2 && line.find(':') != line.npos) {
        line.clear();
      } else {
        best.clear();
      }
    }
    std::optional<Cells> cells;
    std::string name;
    const bool named = std::ranges::count(columns, LogColumn::name) > 0;
    if (named) {
      // The layer may have to be read first: the name may be a part of "blk.3.NAME" alone.
      std::optional<uint32_t> layer;
      if (std::ranges::count(columns, LogColumn::layer)) {
        if (const auto first = cells_of(line, {LogColumn::layer})) layer = layer_of(*first);
        if (!layer)
          if (const auto numbers = numbers_of(line); !numbers.empty() && numbers[0].whole)
            layer = whole_number<uint32_t>(numbers[0]);
      }
      name = operation_in(line, layer);
    }
    if (!named || !name.empty()) cells = cells_of(line, columns);
    if (cells && !sized && !listed) return add_token(place, *cells);
    const bool has_row = sized && cells && add_row(place, std::move(name), *cells);
    if (!best.empty())
      log_.lists.push_back({has_row ? log_.rows.back().layer : std::nullopt, std::move(best)});
    else
      return has_row;
    return true;
  }

  static std::optional<uint32_t> layer_of(const Cells& cells) {
    for (const auto& [column, number] : cells)
      if (column == LogColumn::layer) return whole_number<uint32_t>(number);
    return {};
  }

  bool add_row(uint64_t place, std::string name, const Cells& cells) {
    LogRow row{place, layer_of(cells), std::move(name), {}, pass_, {}};
    for (const auto& [column, number] : cells) {
      if (column == LogColumn::token) row.token = whole_number<uint32_t>(number);
      if (is_statistic(column)) row.values.push_back({column, number.printed});
    }
    if (row.values.empty() || (!row.layer && row.name.empty())) return false;
    if (!seen_.insert({row.layer, row.name, row.token}).second) {
      row.pass = ++pass_;
      seen_ = {{row.layer, row.name, row.token}};
    }
    log_.rows.push_back(std::move(row));
    return true;
  }

  /// One token of a list that stands in lines.
  bool add_token(uint64_t place, const Cells& cells) {
    LoggedToken one{place, 0, {}};
    for (const auto& [column, number] : cells) {
      if (column == LogColumn::id) {
        const auto id = whole_number<int32_t>(number);
        if (!id) return false;
        one.id = *id;
      }
      if (column == LogColumn::logit) one.logit = number.printed;
    }
    const bool goes_on = list_end_ + 1 == place && !log_.lists.empty() &&
                         std::ranges::count(log_.lists.back().best, one.id, &LoggedToken::id) == 0;
    if (!goes_on) log_.lists.push_back({});
    log_.lists.back().best.push_back(std::move(one));
    list_end_ = place;
    return true;
  }

  const std::span<const LogColumns> columns_;
  const std::set<std::string> operations_;
  TextLog log_;
  uint64_t pass_ = 0, list_end_ = 0;
  std::set<std::tuple<std::optional<uint32_t>, std::string, std::optional<uint32_t>>> seen_;
};

}  // namespace

std::string_view name_of(LogColumn column) {
  return facts_of(column).name;
}

Result<LogColumns> read_columns(const std::string& text) {
  static const std::regex top("top[-_]?[0-9k]*");
  LogColumns columns;
  std::string rest = plain(text) + ",";
  for (size_t end; (end = rest.find(',')) != rest.npos; rest.erase(0, end + 1)) {
    std::string name = rest.substr(0, end);
    std::erase(name, ' ');
    if (std::regex_match(name, top)) name = "top";
    const auto found = std::ranges::find(facts(), name, &ColumnFacts::name);
    if (found == facts().end()) {
      std::vector<std::string_view> known;
      for (const ColumnFacts& one : facts()) known.push_back(one.name);
      return Error{fmt::format("--columns: '{}' is not a column; there are {}", name,
                               fmt::join(known, ", "))};
    }
    if (found->column != LogColumn::skip && std::ranges::count(columns, found->column))
      return Error{fmt::format("--columns: '{}' comes twice", name)};
    columns.push_back(found->column);
  }
  const auto has = [&](LogColumn column) { return std::ranges::count(columns, column) > 0; };
  const bool sized = std::ranges::any_of(columns, is_statistic);
  if (has(LogColumn::id) != has(LogColumn::logit) || (has(LogColumn::id) && sized))
    return Error{"--columns: 'id' and 'logit' come together and alone: lines of a token each"};
  if (sized && !has(LogColumn::layer) && !has(LogColumn::name))
    return Error{"--columns: statistics need a column 'layer' or 'name'"};
  if (!sized && !has(LogColumn::id) && !has(LogColumn::top))
    return Error{fmt::format("--columns: '{}' has nothing that can be compared", text)};
  return columns;
}

TextLog read_log(std::string_view text, std::span<const LogColumns> columns,
                 std::span<const std::string> operations) {
  Reader reader(columns, operations);
  uint64_t place = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    while (line.ends_with('\r')) line.remove_suffix(1);
    reader.line(++place, line);
    text.remove_prefix(std::min(text.size(), end + 1));
  }
  return reader.finish();
}

}  // namespace assay::trace
