// The small operations on single values: xielu, soft_cap, clamp, position_scale, slice.
#include <algorithm>

#include "judge/kind.h"
#include "op/rope.h"

namespace assay::judge {

namespace {

template <class Function>
Table each(const Table& x, const Function& function) {
  Table y = x;
  for (double& value : y.data) value = function(value);
  return y;
}

/// The parts that xIELU adds: |alpha·curve| and |beta·x|, which may cancel.
struct XieluParts {
  double curve, line;
};
XieluParts parts_of(const op::Xielu& p, double x) {
  const double below = std::min(x, double(p.eps));
  const double curve = x > 0 ? double(p.alpha_p) * x * x
                             : double(p.alpha_n) * (std::expm1(below) - below + (below - x));
  return {curve, double(p.beta) * x};
}

}  // namespace

template <>
Table formula_of(const Subject& subject, const op::Xielu& p) {
  return each(subject.x(), [&](double x) {
    const XieluParts parts = parts_of(p, x);
    return parts.curve + parts.line;
  });
}

/// In a coarse type both parts are rounded before they are added.
/// Of |curve| + |line|: the curve's x² and products 3; e^x − 1 − x by its polynomial 5, or from e^x,
/// which is at most 1 where the curve is at least 0.05: exp 3, two sums 2, so 5/0.05; the fma 1.
template <>
Judged expect_of(const Subject& subject, const op::Xielu& p, const Coding&,
                 const Arithmetic& arithmetic) {
  const Table& x = subject.x();
  Judged out{formula_of(subject, p), Table(x.rows, x.width), constant(0), {}};
  for (size_t i = 0; i < x.data.size(); ++i) {
    const XieluParts parts = parts_of(p, x.data[i]);
    out.scale.data[i] = std::fabs(parts.curve) + std::fabs(parts.line);
  }
  out.limit = constant(104.0 + between(arithmetic, 2) + foreign(arithmetic) +
                       (arithmetic.goes_on_in_f64 ? 2.0 : 0.0));
  return out;
}

template <>
Table formula_of(const Subject& subject, const op::SoftCap& p) {
  const double cap = double(p.cap);
  return each(subject.x(), [&](double x) { return cap * std::tanh(x / cap); });
}

/// In a coarse type x/cap and tanh are rounded, too (|tanh' ·x/cap| <= 1).
/// Of the cap, which tanh = (1 − t)/(1 + t) is measured against: t is off by up to 4 u near 1.
template <>
Judged expect_of(const Subject& subject, const op::SoftCap& p, const Coding&,
                 const Arithmetic& arithmetic) {
  const Table& x = subject.x();
  Judged out{formula_of(subject, p), Table(x.rows, x.width), constant(0), {}};
  for (double& scale : out.scale.data) scale = double(p.cap);
  out.limit = constant(4.0 + between(arithmetic, 2) + foreign(arithmetic) +
                       (arithmetic.goes_on_in_f64 ? 2.0 : 0.0));
  return out;
}

template <>
Table formula_of(const Subject& subject, const op::Clamp& p) {
  return each(subject.x(), [&](double x) {
    return x < double(p.low) ? double(p.low) : x > double(p.high) ? double(p.high) : x;
  });
}

template <>
Judged expect_of(const Subject& subject, const op::Clamp& p, const Coding&,
                 const Arithmetic& arithmetic) {
  return of_rows(formula_of(subject, p), arithmetic.goes_on_in_f64 ? 1.0 : copy_limit);
}

template <>
Table formula_of(const Subject& subject, const op::PositionScale& p) {
  const op::PositionGrowth& growth = *subject.program.rope_tables[p.table].growth;
  Table y = subject.x();
  for (uint64_t t = 0; t < y.rows; ++t) {
    const double steps =
        std::floor((double(subject.position(t)) + growth.offset) / double(growth.every));
    for (double& value : y.row(t)) value *= 1.0 + growth.slope * std::log1p(steps);
  }
  return y;
}

/// The factor is rounded once, the product once.
template <>
Judged expect_of(const Subject& subject, const op::PositionScale& p, const Coding&,
                 const Arithmetic& arithmetic) {
  return of_rows(formula_of(subject, p), 2.0 + between(arithmetic) + foreign(arithmetic) +
                                             (arithmetic.goes_on_in_f64 ? 1.0 : 0.0));
}

template <>
Table formula_of(const Subject& subject, const op::Slice& p) {
  const Table& x = subject.x();
  const uint64_t part = x.width / p.parts;
  Table y(x.rows, uint64_t(p.parts) * p.width);
  for (uint64_t t = 0; t < x.rows; ++t)
    for (uint64_t i = 0; i < y.width; ++i)
      y.row(t)[i] = x.row(t)[i / p.width * part + p.first + i % p.width];
  return y;
}

template <>
Judged expect_of(const Subject& subject, const op::Slice& p, const Coding&, const Arithmetic&) {
  return of_rows(formula_of(subject, p), copy_limit);
}

}  // namespace assay::judge
