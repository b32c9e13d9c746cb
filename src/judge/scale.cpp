#include "judge/kind.h"

namespace assay::judge {

// y[i] = x[i]·factor + b[i]
std::vector<double> scale(std::span<const double> x, double factor, std::span<const double> b) {
  std::vector<double> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * factor + (b.empty() ? 0.0 : b[i]);
  return y;
}

/// RN(RN(x·factor) + b), of |x·factor| + |b|: one per rounding.
static constexpr double scale_limit = 2.0;

template <>
Table formula_of(const Subject& subject, const op::Scale& p) {
  const std::vector<double> b = subject.bias();
  return by_row(subject.x().rows, subject.x().width,
                [&](uint64_t t) { return scale(subject.x().row(t), double(p.factor), b); });
}

template <>
Judged expect_of(const Subject& subject, const op::Scale& p, const Coding&,
                 const Arithmetic& arithmetic) {
  const Table& x = subject.x();
  const std::vector<double> b = subject.bias();
  Judged out{formula_of(subject, p),
             Table(x.rows, x.width),
             constant(scale_limit + between(arithmetic)),
             {}};
  for (uint64_t t = 0; t < x.rows; ++t)
    for (uint64_t i = 0; i < x.width; ++i)
      out.scale.row(t)[i] =
          std::fabs(x.row(t)[i] * double(p.factor)) + (b.empty() ? 0.0 : std::fabs(b[i]));
  return out;
}

}  // namespace assay::judge
