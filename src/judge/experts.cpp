// What chosen experts compute: matmul_experts, scale_experts, spread_experts, mix_experts. A routing
// is a row of ids, then of weights (op::Route).
#include <algorithm>
#include <map>

#include "judge/kind.h"
#include "judge/product.h"

namespace assay::judge {

namespace {

/// The routing of a step, input 1.
struct Routing {
  const Table& table;

  uint64_t used() const { return table.width / 2; }
  /// An id that is no expert's gives NaN for all that reads it: `experts` then.
  uint64_t id(uint64_t t, uint64_t slot, uint64_t experts) const {
    const double id = table.row(t)[slot];
    return id >= 0 && id < double(experts) ? uint64_t(id) : experts;
  }
  double weight(uint64_t t, uint64_t slot) const { return table.row(t)[used() + slot]; }
};

/// A token and the slot of one of its experts.
struct Place {
  uint64_t token, slot;
};

op::Weight expert_of(const op::Weight& weight, uint64_t expert, uint64_t rows) {
  op::Weight one = weight;
  one.rows = rows;
  one.data = weight.data.subspan(expert * rows * weight.row_bytes(), rows * weight.row_bytes());
  return one;
}

op::Weight bias_of(const op::Weight& bias, uint64_t expert) {
  op::Weight one = bias;
  one.rows = 1;
  one.data = bias.row(expert);
  return one;
}

/// Calls make(weight, bias, x) → Product for each expert that is chosen, and place(place, product,
/// row of product) for each of its results.
template <class Make, class Put>
void each_expert(const Subject& subject, const op::MatmulExperts& p, const Make& make,
                 const Put& put) {
  const Table& x = subject.x(0);
  const Routing routing{subject.x(1)};
  const op::Weight& weight = subject.weight();
  const uint64_t rows = weight.rows / p.experts;
  std::map<uint64_t, std::vector<Place>> places;
  for (uint64_t t = 0; t < x.rows; ++t)
    for (uint64_t slot = 0; slot < routing.used(); ++slot)
      places[routing.id(t, slot, p.experts)].push_back({t, slot});
  for (const auto& [expert, list] : places) {
    if (expert == p.experts) continue;
    Table input(list.size(), weight.columns);
    for (size_t i = 0; i < list.size(); ++i) {
      const uint64_t from = x.width == weight.columns ? 0 : list[i].slot * weight.columns;
      std::ranges::copy(x.row(list[i].token).subspan(from, weight.columns), input.row(i).begin());
    }
    const op::Weight one = expert_of(weight, expert, rows);
    const op::Weight* all = subject.program.bias_of(subject.operation);
    const op::Weight bias = all ? bias_of(*all, expert) : op::Weight{};
    const auto product = make(one, all ? &bias : nullptr, input);
    for (size_t i = 0; i < list.size(); ++i) put(list[i], product, i, rows);
  }
}

Table of_nans(uint64_t rows, uint64_t width) {
  Table table(rows, width);
  std::ranges::fill(table.data, std::numeric_limits<double>::quiet_NaN());
  return table;
}

void copy_row(const Table& from, uint64_t row, Table& to, const Place& place, uint64_t width) {
  std::ranges::copy(from.row(row), to.row(place.token).subspan(place.slot * width, width).begin());
}

}  // namespace

template <>
Table formula_of(const Subject& subject, const op::MatmulExperts& p) {
  const uint64_t width = subject.weight().rows / p.experts * Routing{subject.x(1)}.used();
  Table out = of_nans(subject.x().rows, width);
  each_expert(
      subject, p,
      [](const op::Weight& weight, const op::Weight* bias, const Table& x) {
        return matmul(weight, bias, x);
      },
      [&](const Place& place, const Table& product, uint64_t row, uint64_t rows) {
        copy_row(product, row, out, place, rows);
      });
  return out;
}

template <>
Judged expect_of(const Subject& subject, const op::MatmulExperts& p, const Coding& coding,
                 const Arithmetic&) {
  const uint64_t width = subject.weight().rows / p.experts * Routing{subject.x(1)}.used();
  const uint64_t count = subject.x().rows;
  Product out{of_nans(count, width), Table(count, width), {}, 0, {}};
  const auto copy = [&](const Table& from, uint64_t row, Table& to, const Place& place,
                        uint64_t rows) {
    if (from.data.empty()) return;
    if (to.data.empty()) to = Table(count, width);
    copy_row(from, row, to, place, rows);
  };
  each_expert(
      subject, p,
      [&](const op::Weight& weight, const op::Weight* bias, const Table& x) {
        return multiply(weight, bias, x, coding);
      },
      [&](const Place& place, const Product& product, uint64_t row, uint64_t rows) {
        copy(product.want, row, out.want, place, rows);
        copy(product.magnitude, row, out.magnitude, place, rows);
        copy(product.slack, row, out.slack, place, rows);
        copy(product.deviation, row, out.deviation, place, rows);
        out.limit_u = product.limit_u;
      });
  return judged(std::move(out), subject.inputs.got);
}

namespace {

/// x[u, i]·w[e(u)] and b[e(u), i], side by side.
struct ScaledParts {
  double product, bias;
};
template <class Use>
void each_scaled(const Subject& subject, const Use& use) {
  const Table& x = subject.x(0);
  const Routing routing{subject.x(1)};
  const std::vector<double> scale = decode_row(subject.weight(), 0);
  const op::Weight* bias = subject.program.bias_of(subject.operation);
  const uint64_t width = x.width / routing.used();
  for (uint64_t t = 0; t < x.rows; ++t)
    for (uint64_t slot = 0; slot < routing.used(); ++slot) {
      const uint64_t expert = routing.id(t, slot, scale.size());
      const bool known = expert < scale.size();
      const double factor = known ? scale[expert] : std::numeric_limits<double>::quiet_NaN();
      const std::vector<double> b =
          bias && known ? decode_row(*bias, expert) : std::vector<double>();
      for (uint64_t i = slot * width; i < (slot + 1) * width; ++i)
        use(t, i, ScaledParts{x.row(t)[i] * factor, b.empty() ? 0.0 : b[i - slot * width]});
    }
}

}  // namespace

template <>
Table formula_of(const Subject& subject, const op::ScaleExperts&) {
  Table out(subject.x().rows, subject.x().width);
  each_scaled(subject, [&](uint64_t t, uint64_t i, const ScaledParts& parts) {
    out.row(t)[i] = parts.product + parts.bias;
  });
  return out;
}

/// RN(RN(x·w) + b), of |x·w| + |b|.
template <>
Judged expect_of(const Subject& subject, const op::ScaleExperts& p, const Coding&,
                 const Arithmetic& arithmetic) {
  Judged out{formula_of(subject, p),
             Table(subject.x().rows, subject.x().width),
             constant((arithmetic.goes_on_in_f64 ? 3.0 : 2.0) + between(arithmetic)),
             {}};
  each_scaled(subject, [&](uint64_t t, uint64_t i, const ScaledParts& parts) {
    out.scale.row(t)[i] = std::fabs(parts.product) + std::fabs(parts.bias);
  });
  return out;
}

template <>
Table formula_of(const Subject& subject, const op::SpreadExperts&) {
  const Table& x = subject.x(0);
  const Routing routing{subject.x(1)};
  Table out(x.rows, x.width * routing.used());
  for (uint64_t t = 0; t < x.rows; ++t)
    for (uint64_t i = 0; i < out.width; ++i)
      out.row(t)[i] = x.row(t)[i % x.width] * routing.weight(t, i / x.width);
  return out;
}

template <>
Judged expect_of(const Subject& subject, const op::SpreadExperts& p, const Coding&,
                 const Arithmetic& arithmetic) {
  return of_rows(formula_of(subject, p),
                 (arithmetic.goes_on_in_f64 ? 3.0 : 1.0) + between(arithmetic));
}

namespace {

/// Σ_u f(x[u, i]·weight(u))
template <class Function>
Table mixed(const Subject& subject, const op::MixExperts& p, const Function& function) {
  const Table& x = subject.x(0);
  const Routing routing{subject.x(1)};
  const uint64_t width = x.width / routing.used();
  Table out(x.rows, width);
  for (uint64_t t = 0; t < x.rows; ++t)
    for (uint64_t i = 0; i < x.width; ++i)
      out.row(t)[i % width] +=
          function(x.row(t)[i] * (p.weighted ? routing.weight(t, i / width) : 1.0));
  return out;
}

}  // namespace

template <>
Table formula_of(const Subject& subject, const op::MixExperts& p) {
  return mixed(subject, p, [](double term) { return term; });
}

/// As many roundings as there are terms, of Σ |x·weight|; engines that round product and sum apart
/// make twice as many.
template <>
Judged expect_of(const Subject& subject, const op::MixExperts& p, const Coding&,
                 const Arithmetic& arithmetic) {
  const double used = double(subject.x(1).width / 2);
  const Roundings& r = arithmetic[Family::residual];
  return {formula_of(subject, p),
          mixed(subject, p, [](double term) { return std::fabs(term); }),
          constant((arithmetic.own && !arithmetic.goes_on_in_f64 ? used : 2.0 * used + 2.0) +
                   (coarse_ulp(r.products) + used * coarse_ulp(r.sums)) / unit),
          {}};
}

}  // namespace assay::judge
