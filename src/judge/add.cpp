#include "judge/kind.h"

namespace assay::judge {

// y[i] = a[i] + b[i]
std::vector<double> add(std::span<const double> a, std::span<const double> b) {
  std::vector<double> y(a.size());
  for (size_t i = 0; i < a.size(); ++i) y[i] = a[i] + b[i];
  return y;
}

/// RN(a + b): half an ulp, of |y|.
static constexpr double add_limit = 1.0;

template <>
Table formula_of(const Subject& subject, const op::Add&) {
  return by_row(subject.x().rows, subject.x().width,
                [&](uint64_t t) { return add(subject.x(0).row(t), subject.x(1).row(t)); });
}

template <>
Judged expect_of(const Subject& subject, const op::Add& p, const Coding&,
                 const Arithmetic& arithmetic) {
  Judged out = of_rows(formula_of(subject, p), add_limit);
  if (!arithmetic.goes_on_in_f64) return out;
  // a, b and y are rounded once each: 2 u of |a| + |b|.
  out.limit = constant(2 * add_limit);
  for (size_t i = 0; i < out.scale.data.size(); ++i)
    out.scale.data[i] = std::fabs(subject.x(0).data[i]) + std::fabs(subject.x(1).data[i]);
  return out;
}

}  // namespace assay::judge
