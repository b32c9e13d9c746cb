// A debugging log as people print it: lines with the size of a layer's output, and lists of the best
// tokens. The user says which columns there are; separators and labels are found.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace assay::trace {

/// What a number of a line is. `max` is the largest value or the largest magnitude: logs mean
/// either.
enum class LogColumn {
  skip,
  layer,
  name,
  token,
  id,
  logit,
  top,
  rms,
  norm,
  deviation,
  mean,
  mean_abs,
  max_abs,
  max,
  min,
  nan
};
/// As --columns and reports call it: "rms", "max_abs"; "_" is skip.
std::string_view name_of(LogColumn column);

using LogColumns = std::vector<LogColumn>;
/// "layer,rms,max". Errors: an unknown column, one that comes twice, columns without anything that
/// can be compared, statistics without a place, id without logit.
Result<LogColumns> read_columns(const std::string& text);

/// A printed number stands for all numbers that are printed so: value ± half a unit of its last
/// digit.
struct Printed {
  double value = 0, half = 0;
  std::string text;
};

struct LogValue {
  LogColumn column;
  Printed printed;
};
/// A line with statistics.
struct LogRow {
  uint64_t line = 0;  ///< from 1
  std::optional<uint32_t> layer;
  std::string name;  ///< of an operation; empty where the line has only a layer
  std::optional<uint32_t> token;
  uint64_t pass = 0;  ///< counts up where a place comes again: the next run of the model
  std::vector<LogValue> values;
};
struct LoggedToken {
  uint64_t line = 0;
  int32_t id = 0;
  Printed logit;
};
struct LogList {
  std::optional<uint32_t> layer;  ///< of the line that the list stands on
  std::vector<LoggedToken> best;
};
struct LogLine {
  uint64_t line = 0;
  std::string text;
};

struct TextLog {
  std::vector<LogRow> rows;
  std::vector<LogList> lists;
  std::vector<std::vector<int32_t>> tokens;  ///< each list of token ids, without repetition
  std::vector<LogLine> unread;               ///< with letters or digits, but not of any columns
  uint64_t lines = 0;                        ///< with letters or digits
};

/// Reads each line by the first columns that fit. A column takes the number behind its own label
/// ("RMS=0.1", "layer 3"); the others take the numbers that are left, in order, and there must be as
/// many. `operations` are the names that the column `name` knows.
TextLog read_log(std::string_view text, std::span<const LogColumns> columns,
                 std::span<const std::string> operations);

}  // namespace assay::trace
