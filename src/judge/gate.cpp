#include <cassert>

#include "judge/kind.h"

namespace assay::judge {

namespace {

constexpr double pi = 3.14159265358979323846;
constexpr double clamp_limit = 7.0, quick_slope = 1.702;

/// 2·√(2/π)·(x + 0.044715·x³), the exponent of gelu_tanh
double tanh_exponent(double x) {
  return 2.0 * std::sqrt(2.0 / pi) * (x + 0.044715 * x * x * x);
}

/// What the activation of a gate is multiplied with.
double gate_factor(op::Activation activation, double up) {
  if (activation != op::Activation::silu_clamped) return up;
  return (up > clamp_limit ? clamp_limit : up < -clamp_limit ? -clamp_limit : up) + 1.0;
}

double relu(double x) {
  return x < 0 ? 0.0 : x;
}

/// How many u of f(x) the f32 formula (lang/activation.h) may be off. exp's own error is 2^-22.6 at
/// most (its relative error and half an ulp); what its argument was rounded by, |argument|·u for
/// each rounding, is a relative error of its result. Then a sum, a quotient and a product, and one
/// spare.
double limit_of(op::Activation activation, double x) {
  const double size = std::fabs(x);
  switch (activation) {
    case op::Activation::silu:
      return 8.0;
    case op::Activation::gelu_tanh:  // four roundings of the exponent
      return 8.0 + 4.0 * std::fabs(tanh_exponent(x));
    case op::Activation::gelu_erf:  // t·P(t) 6; two roundings of x²/2
      return 14.0 + size * size;
    case op::Activation::gelu_quick:
    case op::Activation::silu_clamped:
      return 8.0 + 2.0 * quick_slope * size;
    case op::Activation::relu:
      return 1.0;
    case op::Activation::relu_squared:
      return 2.0;
    case op::Activation::sigmoid:
      return 8.0;
    case op::Activation::softplus:  // exp 3, s 2, the series 2, fma 1
      return 9.0;
  }
  assert(false);
  return 0;
}

/// Whether f(x) is e^−z times something for large z: e^−z is 0 beyond 50, so less than 2^-72 is lost.
bool ends_in_zero(op::Activation activation) {
  return activation == op::Activation::gelu_erf || activation == op::Activation::softplus;
}

/// A bound of |d ln f(x) / d ln x|.
double condition_of(op::Activation activation, double x) {
  switch (activation) {
    case op::Activation::relu:
      return 1.0;
    case op::Activation::relu_squared:
      return 2.0;
    case op::Activation::gelu_tanh:
      return 1.0 + 3.0 * std::fabs(tanh_exponent(x));
    case op::Activation::gelu_erf:
      return 2.0 + x * x;
    default:
      return 1.0 + quick_slope * std::fabs(x);
  }
}

/// What a table of f16 results for f16 arguments is off by: half an ulp of x and of f(x), which is
/// 2^-25 at least. |f'| is below 1.2.
double table_slack(op::Activation activation, double x, double up) {
  const auto half_ulp = [](double size) { return std::fmax(std::fabs(size) * 0x1p-11, 0x1p-25); };
  return (1.2 * half_ulp(x) + half_ulp(activate(activation, x))) * std::fabs(up);
}

/// Other engines compute GELU as x/2·(1 + tanh(…)) or x/2·(1 + erf(…)): where the function is near −1,
/// little is left of it, but four u of 1 that it may be off.
double cancellation_slack(double x, double up) {
  return 0.5 * std::fabs(x) * 4 * 0x1p-24 * std::fabs(up);
}

/// f(x), or f(x)·up where there is `up`, with its limits: the product adds one rounding.
Judged judged(const Table& x, const Table* up, op::Activation activation, Table want,
              const Arithmetic& arithmetic) {
  const uint64_t repeat = want.width / x.width;
  Judged out{std::move(want), {}, {}, {}};
  out.scale = Table(out.want.rows, out.want.width);
  out.limit = Table(out.want.rows, out.want.width);
  const bool tabled = arithmetic.f16_gelu && (activation == op::Activation::gelu_tanh ||
                                              activation == op::Activation::gelu_quick);
  const bool cancels = !arithmetic.own && (activation == op::Activation::gelu_tanh ||
                                           activation == op::Activation::gelu_erf);
  if (tabled || cancels) out.slack = Table(out.want.rows, out.want.width);
  for (uint64_t t = 0; t < out.want.rows; ++t)
    for (uint64_t i = 0; i < out.want.width; ++i) {
      const double g = x.row(t)[i / repeat];
      double limit = limit_of(activation, g) + foreign(arithmetic);
      out.scale.row(t)[i] = std::fabs(out.want.row(t)[i]);
      if (up && activation != op::Activation::silu) limit += 1;          // silu's spare covers it
      if (up && activation == op::Activation::silu_clamped) limit += 1;  // up + 1
      if (const double f = std::fabs(activate(activation, g));
          up && ends_in_zero(activation) && f > 0 && f < absolute_floor)
        limit += absolute_floor / (f * unit);  // `up` lifts what is lost above the floor
      if (arithmetic.goes_on_in_f64) {
        limit += 2 + condition_of(activation, g);
        if (up && activation == op::Activation::silu_clamped)
          out.scale.row(t)[i] +=
              std::fabs(activate(activation, g) * (std::fabs(up->row(t)[i]) + 1));
      }
      out.limit.row(t)[i] = limit;
      const double factor = up ? up->row(t)[i] : 1;
      if (tabled) out.slack.row(t)[i] += table_slack(activation, g, factor);
      if (cancels) out.slack.row(t)[i] += cancellation_slack(g, factor);
    }
  return out;
}

}  // namespace

double activate(op::Activation activation, double x) {
  switch (activation) {
    case op::Activation::silu:
      return x / (1.0 + std::exp(-x));
    case op::Activation::gelu_tanh:
      return x / (1.0 + std::exp(-tanh_exponent(x)));
    case op::Activation::gelu_erf:
      return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    case op::Activation::gelu_quick:
      return x / (1.0 + std::exp(-quick_slope * x));
    case op::Activation::relu:
      return relu(x);
    case op::Activation::relu_squared:
      return relu(x) * relu(x);
    case op::Activation::sigmoid:
      return 1.0 / (1.0 + std::exp(-x));
    case op::Activation::softplus:
      return relu(x) + std::log1p(std::exp(-std::fabs(x)));
    case op::Activation::silu_clamped:
      return activate(op::Activation::gelu_quick, x > clamp_limit ? clamp_limit : x);
  }
  assert(false);
  return x;
}

// y[i] = f(g[i / r])·u[i]
std::vector<double> gate(op::Activation activation, std::span<const double> g,
                         std::span<const double> u) {
  const size_t repeat = u.size() / g.size();
  std::vector<double> y(u.size());
  for (size_t i = 0; i < u.size(); ++i)
    y[i] = activate(activation, g[i / repeat]) * gate_factor(activation, u[i]);
  return y;
}

template <>
Table formula_of(const Subject& subject, const op::Gate& p) {
  return by_row(subject.x().rows, subject.x(1).width, [&](uint64_t t) {
    return gate(p.activation, subject.x(0).row(t), subject.x(1).row(t));
  });
}

template <>
Judged expect_of(const Subject& subject, const op::Gate& p, const Coding&,
                 const Arithmetic& arithmetic) {
  return judged(subject.x(0), &subject.x(1), p.activation, formula_of(subject, p), arithmetic);
}

template <>
Table formula_of(const Subject& subject, const op::Activate& p) {
  Table y = subject.x();
  for (double& value : y.data) value = activate(p.activation, value);
  return y;
}

template <>
Judged expect_of(const Subject& subject, const op::Activate& p, const Coding&,
                 const Arithmetic& arithmetic) {
  return judged(subject.x(), nullptr, p.activation, formula_of(subject, p), arithmetic);
}

}  // namespace assay::judge
