// Mean and spread of numbers that come one by one.
#pragma once

#include <algorithm>
#include <cmath>

namespace assay::diff {

/// Of numbers that lie close together: what they are measured from is the first of them.
struct Moments {
  double count = 0, first = 0, sum = 0, squares = 0;

  void add(double x) {
    if (count == 0) first = x;
    ++count;
    sum += x - first;
    squares += (x - first) * (x - first);
  }
  double mean() const { return first + sum / count; }
  double variance() const { return std::max(0.0, squares - sum * sum / count) / (count - 1); }
  /// Relative to the mean's square.
  double relative_variance() const { return mean() == 0 ? 0 : variance() / (mean() * mean()); }
};

}  // namespace assay::diff
