// The drawings of a report, as SVG text inside HTML.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace assay::report {

/// Numbers in rows and columns; NaN is drawn as "not there".
struct Grid {
  std::string title;  ///< for readers that see no picture, too
  std::string across, down;
  std::vector<std::string> column_names, row_names;  ///< few or none are drawn; empty: none
  uint64_t rows = 0, columns = 0;
  std::vector<double> values;  ///< error/limit: above 1 is wrong
};
std::string heat_map(const Grid& grid);

/// What one engine's operation is, in the strip of all operations.
enum class Mark { none, pass, tie, fail, unmeasured };
struct Strip {
  std::string title;
  std::vector<std::string> column_names;  ///< kinds of operation
  uint64_t rows = 0;                      ///< layers
  std::vector<Mark> marks;                ///< (rows, columns)
  int64_t first = -1;                     ///< the index of the mark that is ringed; −1: none
};
std::string strip(const Strip& strip);

struct Line {
  std::string name;
  std::string style;  ///< a CSS class
  std::vector<double> values;
};
/// Lines over 0, 1, …, with a logarithmic axis; values that are not positive leave a gap.
std::string chart(const std::string& title, const std::string& across, const std::string& down,
                  const std::vector<Line>& lines, const std::vector<std::string>& names);

}  // namespace assay::report
