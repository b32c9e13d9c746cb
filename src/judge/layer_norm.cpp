#include <limits>

#include "judge/kind.h"

namespace assay::judge {

namespace {

/// Of one part of a row.
struct Moments {
  double mean, root, size;  ///< m, √(Σ (x − m)²/n + eps), Σ|x|/n
  bool in_range;            ///< f32 holds both sums
};
Moments moments_of(std::span<const double> part, double eps) {
  const double n = double(part.size());
  double sum = 0, size = 0, squares = 0;
  for (double x : part) {
    sum += x;
    size += std::fabs(x);
  }
  const double mean = sum / n;
  for (double x : part) squares += (x - mean) * (x - mean);
  const bool in_range = std::isfinite(float(sum)) && std::isfinite(float(squares));
  return {mean, std::sqrt(squares / n + eps), size / n, in_range};
}

}  // namespace

std::vector<double> layer_norm(std::span<const double> x, uint32_t parts, std::span<const double> w,
                               std::span<const double> b, double eps) {
  const size_t n = x.size() / parts;
  std::vector<double> y(x.size());
  for (size_t start = 0; start < x.size(); start += n) {
    const Moments of = moments_of(x.subspan(start, n), eps);
    for (size_t i = start; i < start + n; ++i)
      y[i] = (x[i] - of.mean) / of.root * w[i % w.size()] + (b.empty() ? 0.0 : b[i % b.size()]);
  }
  return y;
}

double layer_norm_limit(uint64_t n) {
  return 6.0 + std::sqrt(double(n)) / 4.0;
}

template <>
Table formula_of(const Subject& subject, const op::LayerNorm& p) {
  const std::vector<double> w = decode_row(subject.weight(), 0), b = subject.bias();
  return by_row(subject.x().rows, subject.x().width, [&](uint64_t t) {
    return layer_norm(subject.x().row(t), p.parts, w, b, double(p.eps));
  });
}

template <>
Judged expect_of(const Subject& subject, const op::LayerNorm& p, const Coding&,
                 const Arithmetic& arithmetic) {
  const Roundings& r = arithmetic[Family::norm];
  std::vector<double> w = decode_row(subject.weight(), 0), b = subject.bias();
  for (auto* row : {&w, &b})
    for (double& value : *row)
      if (is_coarse(r.weights)) value = round_to(value, r.weights);
  const Table& x = subject.x();
  const uint64_t n = x.width / p.parts;
  const auto one = [&](uint64_t t) { return layer_norm(x.row(t), p.parts, w, b, double(p.eps)); };
  Judged out{by_row(x.rows, x.width, one), Table(x.rows, x.width), Table(x.rows, x.width), {}};
  for (uint64_t t = 0; t < x.rows; ++t)
    for (uint64_t start = 0; start < x.width; start += n) {
      const auto part = x.row(t).subspan(start, n);
      const Moments of = moments_of(part, double(p.eps));
      // The mean's error δ moves the variance by δ², which is little unless the row hardly varies.
      const double off = (std::sqrt(double(n)) / 4.0 + 2.0) * unit * of.size / of.root;
      if (!of.in_range && arithmetic.own && !arithmetic.goes_on_in_f64)  // as of rms_norm
        std::fill_n(out.want.row(t).begin() + ptrdiff_t(start), n,
                    std::numeric_limits<double>::quiet_NaN());
      // In a coarse type: x − m, its quotient by the root and the product with w are rounded; sums in
      // the worst order may be off by all that they add up.
      const double sums = std::min(1.0, std::pow(1 + coarse_ulp(r.sums), double(n)) - 1);
      const double limit = layer_norm_limit(n) + off * off / unit + foreign(arithmetic) +
                           (3 * coarse_ulp(r.products) + sums) / unit;
      for (uint64_t i = start; i < start + n; ++i) {
        out.scale.row(t)[i] =
            (std::fabs(x.row(t)[i] - of.mean) + of.size) / of.root * std::fabs(w[i % w.size()]) +
            (b.empty() ? 0.0 : std::fabs(b[i % b.size()]));
        out.limit.row(t)[i] = limit;
      }
    }
  return out;
}

}  // namespace assay::judge
