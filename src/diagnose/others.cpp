// Norms, activations, additions, embeddings, and what can happen to any result.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "diagnose/case.h"

namespace assay::diagnose {

using judge::Table;

namespace {

template <class Function>
Table mapped(const Table& a, Function function) {
  Table out = a;
  for (double& value : out.data) value = function(value);
  return out;
}

template <class Function>
Table mapped(const Table& a, const Table& b, Function function) {
  Table out = a;
  for (size_t i = 0; i < out.data.size(); ++i) out.data[i] = function(a.data[i], b.data[i]);
  return out;
}

Table normed(const Case& the, std::span<const double> w, double eps) {
  const Table& x = the.input(0);
  Table y(x.rows, x.width);
  for (uint64_t t = 0; t < x.rows; ++t)
    std::ranges::copy(judge::rms_norm(x.row(t), w, eps), y.row(t).begin());
  return y;
}

/// eps from the factor by which a token's results differ from the usual ones.
double fitted_eps(const Case& the) {
  double eps = -1, most = 0;
  const op::RmsNorm& norm = *the.operation.as<op::RmsNorm>();
  const uint64_t n = the.got().width / norm.parts;
  for (uint64_t first = 0; first < the.got().data.size(); first += n) {
    double squares = 0, along = 0, size = 0;
    for (uint64_t i = first; i < first + n; ++i) {
      squares += the.input(0).data[i] * the.input(0).data[i] / double(n);
      along += the.got().data[i] * the.usual.want.data[i];
      size += the.usual.want.data[i] * the.usual.want.data[i];
    }
    const double factor = along / size;
    if (!(std::fabs(factor - 1) > most)) continue;
    most = std::fabs(factor - 1);
    eps = (squares + double(norm.eps)) / (factor * factor) - squares;
  }
  return eps;
}

/// bf16 has 8 significant bits.
double round_to_bf16(double x) {
  if (!std::isfinite(x) || x == 0) return x;
  const double spacing = std::ldexp(1.0, std::ilogb(x) - 7);
  return std::nearbyint(x / spacing) * spacing;
}

/// The factor that least squares finds between two tables.
double factor_between(const Table& got, const Table& want) {
  double along = 0, size = 0;
  for (size_t i = 0; i < want.data.size(); ++i) {
    if (!std::isfinite(got.data[i])) return NAN;
    along += got.data[i] * want.data[i];
    size += want.data[i] * want.data[i];
  }
  return double(float(along / size));
}

/// Of silu: whether e^-gate, as the results tell it, is off by a small k·|gate|: what a compiler
/// that may reorder sums, or a short constant, makes of its range reduction.
void note_exponential(const Case& the, Contest& contest) {
  const Table &gate = the.input(0), &up = the.input(1);
  double along = 0, size = 0, square = 0, right_to = INFINITY;
  uint64_t below = 0;
  std::vector<double> passed;
  for (size_t i = 0; i < gate.data.size(); ++i) {
    const double x = gate.data[i], got = the.got().data[i];
    if (!the.fails(i / gate.width, i % gate.width)) {
      passed.push_back(std::fabs(x));
      continue;
    }
    right_to = std::min(right_to, std::fabs(x));
    // Above, 1 + e^-x hides e^-x behind the rounding of 1.
    if (x > 0.5 || got == 0) continue;
    const double off = (x * up.data[i] / got - 1) * std::exp(x) - 1;
    along += off * -x;
    size += x * x;
    square += off * off;
  }
  for (const double x : passed) below += x < right_to;
  const double k = along / size;
  const double left = 1 - k * along / square;
  // A wrong function is no approximation; a constant factor is not exact anywhere.
  if (!(std::fabs(k) < 1e-3) || !(left < 0.2) || below < 32) return;
  contest.note({"fast-math", "the exponential is approximated (a compiler's fast maths?)",
                fmt::format("right for the {} elements with |x| < {:.3g}; beyond, e^x is off by "
                            "{:.2g}·|x|, which explains {:.0f} % of its error's square",
                            below, right_to, std::fabs(k), 100 * (1 - left))});
}

}  // namespace

void try_norm(const Case& the, Contest& contest) {
  const auto w = judge::decode_row(the.program.weights[the.operation.weight], 0);
  const double own = double(the.operation.as<op::RmsNorm>()->eps);
  std::vector<double> plus = w, twice = w;
  for (double& value : plus) value += 1;
  for (double& value : twice) value *= value;
  contest.offer({"norm-plus-one", "the norm's weight is w + 1", ""}, normed(the, plus, own));
  contest.offer({"norm-weight-twice", "the norm's weight is applied twice", ""},
                normed(the, twice, own));
  contest.offer({"norm-weight-omitted", "the norm's weight is left out", ""},
                normed(the, std::vector<double>(w.size(), 1.0), own));
  const double fitted = fitted_eps(the);
  std::vector<double> candidates = {0, 1e-12, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1};
  if (fitted > 0) candidates.insert(candidates.begin(), fitted);
  for (const double eps : candidates)
    if (eps != own)
      contest.offer({"norm-eps", "the norm's eps is another",
                     fmt::format("{:.3g} instead of {:.3g}", eps, own)},
                    normed(the, w, eps));
}

void try_activation(const Case& the, Contest& contest) {
  const Table &gate = the.input(0), &up = the.input(1);
  const auto with = [&](const char* id, const char* name, auto activation) {
    judge::Judged judged =
        with_limits(the, mapped(gate, up, [&](double g, double u) { return activation(g) * u; }));
    // 1 + tanh and 1 + erf cancel for negative gates: their error is one of |gate·up|.
    judged.scale = mapped(gate, up, [](double g, double u) { return std::fabs(g * u); });
    contest.offer({id, name, ""}, judged);
  };
  const op::Activation own = the.operation.as<op::Gate>()->activation;
  contest.offer({"gate-up-swapped", "gate and up are exchanged", ""},
                mapped(up, gate, [&](double u, double g) { return judge::activate(own, u) * g; }));
  with("activation-gelu-tanh", "the activation is GELU (tanh)", [](double x) {
    const double inner = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
    return 0.5 * x * (1 + std::tanh(inner));
  });
  with("activation-gelu-erf", "the activation is GELU (erf)",
       [](double x) { return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2)); });
  with("activation-relu", "the activation is ReLU", [](double x) { return std::max(x, 0.0); });
  with("activation-sigmoid", "the activation is the sigmoid",
       [](double x) { return 1 / (1 + std::exp(-x)); });
  if (own == op::Activation::silu) note_exponential(the, contest);
}

void try_add(const Case& the, Contest& contest) {
  const Table &a = the.input(0), &b = the.input(1);
  contest.offer({"residual-missing", "the residual is not added", ""}, b);
  contest.offer({"branch-missing", "the block's branch is not added", ""}, a);
  const std::vector<trace::TraceTensor> none;
  // Another tensor of this step in the residual's place: its norm, an earlier residual.
  for (const auto& tensor : the.trace ? the.trace->tensors() : none) {
    if (contest.decided() || tensor.name == the.operation.name) break;
    if (tensor.step != the.scene.step || tensor.rows != a.rows || tensor.width != a.width) continue;
    const Table other = the.tensor(tensor.name);
    if (other.data.empty()) continue;
    const bool norm = tensor.name.ends_with("norm");
    contest.offer({norm ? "residual-after-norm" : "residual-parallel",
                   norm ? "the residual is taken after the norm"
                        : "another tensor is added in the residual's place",
                   tensor.name},
                  mapped(other, b, [](double x, double y) { return x + y; }));
  }
  const Table branch = mapped(the.got(), a, [](double y, double x) { return y - x; });
  const double factor = factor_between(branch, b);
  if (std::isfinite(factor))
    contest.offer_rounded(factor, [&](double by) {
      judge::Judged judged =
          with_limits(the, mapped(a, b, [&](double x, double y) { return x + by * y; }));
      // The product is rounded, too.
      judged.scale =
          mapped(a, b, [&](double x, double y) { return std::fabs(x) + 2 * std::fabs(by * y); });
      return std::pair(
          Cause{"residual-scale", "the branch is scaled", fmt::format("by {:.7g}", by)}, judged);
    });
  const double whole = factor_between(the.got(), the.usual.want);
  if (std::isfinite(whole))
    contest.offer({"residual-scale", "the residual is scaled", fmt::format("by {:.4g}", whole)},
                  mapped(the.usual.want, [&](double y) { return whole * y; }));
}

void try_embed(const Case& the, Contest& contest) {
  const double factor = factor_between(the.got(), the.usual.want);
  if (std::isfinite(factor))
    contest.offer({"embedding-scale", "the embedding is scaled", fmt::format("by {:.4g}", factor)},
                  mapped(the.usual.want, [&](double y) { return factor * y; }));
  if (!the.trace || the.scene.step == 0) return;
  const auto& before = the.steps()[the.scene.step - 1].tokens;
  const op::Weight& weight = the.program.weights[the.operation.weight];
  if (before.size() < the.tokens()) return;
  Table want(the.got().rows, the.got().width);
  for (uint64_t t = 0; t < want.rows; ++t)
    std::ranges::copy(judge::decode_row(weight, uint64_t(before[before.size() - the.tokens() + t])),
                      want.row(t).begin());
  contest.offer({"stale-input", "the tokens are those of the step before", ""}, std::move(want));
}

void try_general(const Case& the, Contest& contest) {
  const Table &got = the.got(), &want = the.usual.want;
  double most = 0;
  bool above = false, halves = true, brains = true;
  for (size_t i = 0; i < got.data.size(); ++i) {
    if (std::isfinite(got.data[i])) most = std::max(most, std::fabs(got.data[i]));
    above = above || std::fabs(want.data[i]) > 65504;
    halves = halves && (std::isnan(got.data[i]) || judge::round_to_f16(got.data[i]) == got.data[i]);
    brains = brains && (std::isnan(got.data[i]) || round_to_bf16(got.data[i]) == got.data[i]);
  }
  const uint64_t at_most =
      uint64_t(std::ranges::count_if(got.data, [&](double y) { return std::fabs(y) == most; }));
  if (at_most >= 2)
    contest.offer({"clipped", "values are clipped", fmt::format("at {:.4g}", most)},
                  mapped(want, [&](double y) { return std::clamp(y, -most, most); }));
  if (brains) {
    judge::Judged judged = with_limits(the, mapped(want, round_to_bf16));
    // The engine's own f32 error may choose the other neighbour.
    judged.slack = mapped(want, [](double y) { return std::fabs(y) * 0x1p-7; });
    contest.offer({"bf16-result", "the result is kept as bf16", ""}, judged);
  }
  if (halves) {
    judge::Judged judged =
        with_limits(the, mapped(want, [](double y) { return judge::round_to_f16(y); }));
    judged.slack = mapped(want, [](double y) { return std::fabs(y) * 0x1p-10 + 0x1p-24; });
    for (size_t i = 0; i < want.data.size(); ++i)
      if (!std::isfinite(judged.want.data[i])) judged.scale.data[i] = judged.slack.data[i] = 1;
    contest.offer(above ? Cause{"f16-overflow", "the result is kept as f16 and overflows",
                                "its truth exceeds 65504"}
                        : Cause{"f16-result", "the result is kept as f16", ""},
                  judged);
  }
  if (the.seen.not_finite > 0)
    contest.note({"not-finite", "NaN or infinity",
                  fmt::format("{} of {} results", the.seen.not_finite, the.seen.elements)});
  const double factor = factor_between(got, want);
  if (std::isfinite(factor))
    contest.offer({"scaled", "the result is scaled", fmt::format("by {:.4g}", factor)},
                  mapped(want, [&](double y) { return factor * y; }));
}

}  // namespace assay::diagnose
