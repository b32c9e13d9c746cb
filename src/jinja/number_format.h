// Numbers as text, for '%d' % x, '{:d}'.format(x) and what belongs to them.
#pragma once

#include <string>

#include "jinja/run.h"

namespace assay::jinja {

/// What stands between '{:' and '}', or between '%' and its letter.
struct NumberStyle {
  std::string fill = " ";
  char align = 0;  ///< < > ^ = or 0 for the type's own
  char sign = '-';
  bool alternate = false;
  uint64_t width = 0;
  char grouping = 0;       ///< , or _
  int64_t precision = -1;  ///< -1: none given
  char type = 0;
};

/// A width or precision that a template wrote; fails for one beyond what any text needs.
int64_t checked_width(Run& run, std::string_view digits);

/// Signed digits in the style's base (b, o, x, X, d), with fill and width.
Text integer_text(Run& run, const Value& value, const NumberStyle& style);
/// e, f, g, % or none, with fill and width.
Text real_text(Run& run, double value, const NumberStyle& style);
/// `text` with fill up to the width; `sign` goes before the fill of '='.
Text filled(Run& run, const std::string& sign, const Text& text, const NumberStyle& style,
            char own_align);

}  // namespace assay::jinja
