#include "report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "report/report.h"

namespace assay::report {

namespace {

/// A phone shows 360 pixels: drawings are made for that, and grow by `most` on wide screens.
constexpr double drawing_width = 400;

std::string open_svg(double width, double height, const std::string& title, double most = 1.0) {
  return fmt::format(
      "<svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" style=\"max-width:{:.0f}px\">"
      "<title>{}</title>",
      width, height, width * most, escaped(title));
}
constexpr double wide = 1.4;

std::string text(double x, double y, const std::string& anchor, const std::string& what) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>", x, y, anchor,
                     escaped(what));
}

/// Blue where the error is inside its limit; orange to dark red for up to a million times beyond.
std::string colour(double ratio) {
  if (std::isnan(ratio)) return "#000000";
  if (ratio <= 1) {
    const int light = 235 - int(90 * ratio);
    return fmt::format("#{:02x}{:02x}{:02x}", light - 20, light, 245);
  }
  constexpr std::array<const char*, 6> hot = {"#fdae61", "#f46d43", "#e34a33",
                                              "#c51b1b", "#99000d", "#4d0007"};
  return hot[size_t(std::clamp(std::log10(ratio), 0.0, 5.0))];
}

/// 1, 2, 5, 10, 20, …: at most about eight of the names are drawn.
uint64_t name_step(uint64_t count) {
  for (uint64_t ten = 1;; ten *= 10)
    for (const uint64_t step : {ten, 2 * ten, 5 * ten})
      if (count / step <= 8) return step;
}

}  // namespace

std::string heat_map(const Grid& grid) {
  const auto longest = std::ranges::max_element(grid.row_names, {}, &std::string::size);
  const double left = std::clamp(
      24.0 + 7.0 * double(longest == grid.row_names.end() ? 0 : longest->size()), 48.0, 112.0);
  const double top = 8, bottom = 34, width = drawing_width;
  const double cell_width = (width - left - 8) / double(grid.columns);
  const double cell_height = std::clamp(200.0 / double(grid.rows), 4.0, 16.0);
  const double height = top + bottom + cell_height * double(grid.rows);
  std::string out = open_svg(width, height, grid.title, wide);
  for (uint64_t r = 0; r < grid.rows; ++r)
    for (uint64_t c = 0; c < grid.columns; ++c)
      out += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>",
          left + double(c) * cell_width, top + double(r) * cell_height, cell_width + 0.2,
          cell_height + 0.2, colour(grid.values[r * grid.columns + c]));
  const uint64_t across = name_step(grid.column_names.size());
  const uint64_t down = std::max<uint64_t>(1, uint64_t(std::ceil(13 / cell_height)));
  for (uint64_t r = 0; r < grid.row_names.size(); r += down)
    out += text(left - 6, top + (double(r) + 0.5) * cell_height + 4, "end", grid.row_names[r]);
  for (uint64_t c = 0; c < grid.column_names.size(); c += across)
    out += text(left + (double(c) + 0.5) * cell_width, height - bottom + 14, "middle",
                grid.column_names[c]);
  out += text(left + (width - left) / 2, height - 4, "middle", grid.across);
  out += fmt::format(
      "<text transform=\"translate(12 {:.0f}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
      top + cell_height * double(grid.rows) / 2, escaped(grid.down));
  return out + "</svg>";
}

std::string strip(const Strip& strip) {
  const uint64_t columns = strip.column_names.size();
  const double left = 44, top = 92, cell = 18;
  const double width = left + cell * double(std::max<uint64_t>(columns, 8)) + 8;
  const double height = top + cell * double(strip.rows) + 6;
  std::string out = open_svg(width, height, strip.title);
  std::string ring;  // over its neighbours
  constexpr std::array<const char*, 5> classes = {"none", "pass", "tie", "fail", "unmeasured"};
  for (uint64_t c = 0; c < columns; ++c)
    out += fmt::format(
        "<text transform=\"translate({:.1f} {:.0f}) rotate(-90)\" text-anchor=\"start\">{}</text>",
        left + (double(c) + 0.7) * cell, top - 6, escaped(strip.column_names[c]));
  out += text(left - 6, top - 6, "end", "layer");
  for (uint64_t r = 0; r < strip.rows; ++r) {
    out += text(left - 6, top + (double(r) + 0.68) * cell, "end", std::to_string(r));
    for (uint64_t c = 0; c < columns; ++c) {
      const uint64_t i = r * columns + c;
      if (strip.marks[i] == Mark::none) continue;
      const double x = left + double(c) * cell, y = top + double(r) * cell;
      out += fmt::format(
          "<rect class=\"{}\" x=\"{:.0f}\" y=\"{:.0f}\" width=\"16\" height=\"16\" rx=\"2\"/>",
          classes[size_t(strip.marks[i])], x, y);
      if (strip.marks[i] == Mark::fail)
        out += fmt::format("<path class=\"cross\" d=\"M{0:.0f} {1:.0f}l8 8m0 -8l-8 8\"/>", x + 4,
                           y + 4);
      if (int64_t(i) == strip.first)
        ring = fmt::format("<circle class=\"ring\" cx=\"{:.0f}\" cy=\"{:.0f}\" r=\"13\"/>", x + 8,
                           y + 8);
    }
  }
  return out + ring + "</svg>";
}

std::string chart(const std::string& title, const std::string& across, const std::string& down,
                  const std::vector<Line>& lines, const std::vector<std::string>& names) {
  double low = INFINITY, high = 0;
  size_t count = 1;
  for (const Line& line : lines) {
    count = std::max(count, line.values.size());
    for (const double y : line.values)
      if (std::isfinite(y) && y > 0) {
        low = std::min(low, y);
        high = std::max(high, y);
      }
  }
  if (!(high > 0)) return "";
  const double from = std::floor(std::log10(low)),
               to = std::max(from + 1, std::ceil(std::log10(high)));
  const double width = drawing_width, height = 240, left = 64, bottom = 38, top = 10;
  const auto x_of = [&](size_t i) {
    return left + (width - left - 24) * double(i) / double(std::max<size_t>(1, count - 1));
  };
  const auto y_of = [&](double y) {
    return top + (height - top - bottom) * (to - std::log10(y)) / (to - from);
  };
  std::string out = open_svg(width, height, title, wide);
  const int each = std::max(1, int((to - from) / 6));
  for (int e = int(from); e <= int(to); e += each) {
    out += fmt::format("<path class=\"rule\" d=\"M{:.0f} {:.1f}H{:.0f}\"/>", left,
                       y_of(std::pow(10, e)), width - 12);
    out += text(left - 6, y_of(std::pow(10, e)) + 4, "end", fmt::format("1e{}", e));
  }
  for (const Line& line : lines) {
    std::string path;
    bool gap = true;
    for (size_t i = 0; i < line.values.size(); ++i) {
      const double y = line.values[i];
      const bool good = std::isfinite(y) && y > 0;
      if (good) path += fmt::format("{}{:.1f} {:.1f}", gap ? 'M' : 'L', x_of(i), y_of(y));
      if (good && gap && (i + 1 == line.values.size() || !(line.values[i + 1] > 0)))
        path += "h1.5";  // a point by itself
      gap = !good;
    }
    if (!path.empty())
      out += fmt::format("<path class=\"line {}\" d=\"{}\"><title>{}</title></path>", line.style,
                         path, escaped(line.name));
  }
  for (size_t i = 0; i < names.size(); i += name_step(names.size()))
    out += text(x_of(i), height - bottom + 14, "middle", names[i]);
  out += text(left + (width - left) / 2, height - 4, "middle", across);
  out += fmt::format(
      "<text transform=\"translate(12 {:.0f}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
      (height - bottom) / 2, escaped(down));
  out += "</svg><p class=\"key\">";
  for (const Line& line : lines)
    out += fmt::format("<span class=\"{}\">━</span> {} &nbsp; ", line.style, escaped(line.name));
  return out + "</p>";
}

}  // namespace assay::report
