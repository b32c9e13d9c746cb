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

/// Where the root is computed in a coarse type, all elements of a part are off by one factor. It is
/// that of the engine, as far as the worst order of the sum allows it: half of γ_n, and one rounding
/// each for the mean, eps, the root and its inverse.
static void take_root(const Table& got, uint64_t parts, NumberType type, Table& want) {
  const uint64_t n = want.width / parts;
  const double t = half_ulp(type);
  const double most = std::min(0.75, (std::pow(1 + t, double(n)) - 1) / 2 + 4 * t);
  for (size_t start = 0; start < want.data.size(); start += n) {
    double both = 0, squares = 0;
    for (size_t i = start; i < start + n; ++i) {
      both += got.data[i] * want.data[i];
      squares += want.data[i] * want.data[i];
    }
    const double factor = std::clamp(both / squares, 1 / (1 + most), 1 / (1 - most));
    if (!std::isfinite(factor)) continue;
    for (size_t i = start; i < start + n; ++i) want.data[i] *= factor;
  }
}

/// The square of how far values are off, relative.
static double distance(const Table& got, const Table& want) {
  double sum = 0;
  for (size_t i = 0; i < want.data.size(); ++i)
    if (want.data[i] != 0 && std::isfinite(got.data[i]))
      sum += std::pow((got.data[i] - want.data[i]) / want.data[i], 2);
  return sum;
}

/// The weight in a coarse type. Engines of models whose weight is 1 + a tensor round that tensor: of
/// both, the one that `got` is nearer to.
static std::vector<double> weights_of(const Subject& subject, const op::RmsNorm& p,
                                      NumberType type) {
  const std::vector<double> own = decode_row(subject.weight(), 0);
  if (!is_coarse(type)) return own;
  std::vector<double> rounded = own, more = own;
  for (double& w : rounded) w = round_to(w, type);
  for (double& w : more) w = 1 + round_to(w - 1, type);
  const Table* got = subject.inputs.got;
  if (more == rounded || !got || got->data.size() != subject.x().data.size()) return rounded;
  const auto off = [&](const std::vector<double>& w) {
    return distance(*got, by_row(got->rows, got->width, [&](uint64_t t) {
      return rms_norm(subject.x().row(t), p.parts, w, double(p.eps));
    }));
  };
  return off(more) < off(rounded) ? more : rounded;
}

/// In a coarse type the weights are rounded, which is exact to say, and x/root before it meets them.
/// The factor that is fitted where the root is coarse is itself off by as much as an element may be.
template <>
Judged expect_of(const Subject& subject, const op::RmsNorm& p, const Coding&,
                 const Arithmetic& arithmetic) {
  const Roundings& r = arithmetic[Family::norm];
  const std::vector<double> w = weights_of(subject, p, r.weights);
  Table want = by_row(subject.x().rows, subject.x().width, [&](uint64_t t) {
    return rms_norm(subject.x().row(t), p.parts, w, double(p.eps));
  });
  if (arithmetic.own && !arithmetic.goes_on_in_f64) leave_range(subject.x(), p.parts, want);
  const Table* got = subject.inputs.got;
  const bool coarse_root = is_coarse(r.sums) && got && got->data.size() == want.data.size();
  if (coarse_root) take_root(*got, p.parts, r.sums, want);
  const double limit = rms_norm_limit(subject.x().width / p.parts) + foreign(arithmetic) +
                       (coarse_root ? half_ulp(r.sums) / unit : 0);
  Judged out = of_rows(std::move(want), limit);
  if (!is_coarse(r.products)) return out;
  out.limit = Table(out.want.rows, out.want.width);
  for (size_t i = 0; i < out.want.data.size(); ++i) {
    const double size = out.scale.data[i], weight = std::fabs(w[i % out.want.width % w.size()]);
    out.limit.data[i] =
        limit + (size > 0 ? rounding_error(size / weight, r.products) * weight / (unit * size) : 0);
  }
  return out;
}

}  // namespace assay::judge
