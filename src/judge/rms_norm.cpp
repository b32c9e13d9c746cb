#include <algorithm>
#include <limits>

#include "judge/kind.h"

namespace assay::judge {

// y[i] = x[i] / √(Σ x²/n + eps) · w[i] for each part of n values
std::vector<double> rms_norm(std::span<const double> x, uint32_t parts, std::span<const double> w,
                             double eps) {
  const size_t n = x.size() / parts;
  std::vector<double> y(x.size());
  for (size_t start = 0; start < x.size(); start += n) {
    double sum = 0;
    for (double value : x.subspan(start, n)) sum += value * value;
    const double root = std::sqrt(sum / double(n) + eps);
    for (size_t i = start; i < start + n; ++i) y[i] = x[i] / root * w[i % w.size()];
  }
  return y;
}

template <>
Table formula_of(const Subject& subject, const op::RmsNorm& p) {
  const std::vector<double> w = decode_row(subject.weight(), 0);
  return by_row(subject.x().rows, subject.x().width, [&](uint64_t t) {
    return rms_norm(subject.x().row(t), p.parts, w, double(p.eps));
  });
}

/// assay/1 gives NaN for a part whose squares add up to more than f32 holds.
static void leave_range(const Table& x, uint64_t parts, Table& want) {
  const uint64_t n = x.width / parts;
  for (size_t start = 0; start < x.data.size(); start += n) {
    double sum = 0;
    for (size_t i = start; i < start + n; ++i) sum += x.data[i] * x.data[i];
    if (std::isinf(float(sum)))
      std::fill_n(want.data.begin() + ptrdiff_t(start), n,
                  std::numeric_limits<double>::quiet_NaN());
  }
}

double rms_norm_limit(uint64_t n) {
  return 4.0 + std::sqrt(double(n)) / 4.0;
}

template <>
Judged expect_of(const Subject& subject, const op::RmsNorm& p, const Coding&,
                 const Arithmetic& arithmetic) {
  Table want = formula_of(subject, p);
  if (arithmetic.own && !arithmetic.goes_on_in_f64) leave_range(subject.x(), p.parts, want);
  return of_rows(std::move(want),
                 rms_norm_limit(subject.x().width / p.parts) + foreign(arithmetic));
}

}  // namespace assay::judge
