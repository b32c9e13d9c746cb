#include <cassert>
#include "judge/kind.h"

namespace assay::judge {

double activate(op::Activation activation, double x) {
  switch (activation) {
    case op::Activation::silu:
      return x / (1.0 + std::exp(-x));
  }
  assert(false);
  return x;
}

// y[i] = f(g[i])·u[i]
std::vector<double> gate(op::Activation activation, std::span<const double> g,
                         std::span<const double> u) {
  std::vector<double> y(g.size());
  for (size_t i = 0; i < g.size(); ++i) y[i] = activate(activation, g[i]) * u[i];
  return y;
}

/// RN(f32 f(g)·u), of |y|. silu: e^−g 4 (its relative error is under 2^-22), 1 + e^−g 1, quotient 1,
/// product 1, one spare.
static double limit_of(op::Activation activation) {
  switch (activation) {
    case op::Activation::silu:
      return 8.0;
  }
  assert(false);
  return 0;
}

template <>
Table formula_of(const Subject& subject, const op::Gate& p) {
  return by_row(subject.x().rows, subject.x().width, [&](uint64_t t) {
    return gate(p.activation, subject.x(0).row(t), subject.x(1).row(t));
  });
}

template <>
Judged expect_of(const Subject& subject, const op::Gate& p, const Coding&,
                 const Arithmetic& arithmetic) {
  const double limit = limit_of(p.activation);
  Judged out = of_rows(formula_of(subject, p), limit + foreign(arithmetic));
  if (!arithmetic.goes_on_in_f64) return out;
  // d ln f(g) / d ln g is at most 1 + |g|; one rounding of g, one of u.
  out.limit = Table(out.want.rows, out.want.width);
  for (size_t i = 0; i < out.limit.data.size(); ++i)
    out.limit.data[i] = limit + 2 + std::fabs(subject.x().data[i]);
  return out;
}

}  // namespace assay::judge
