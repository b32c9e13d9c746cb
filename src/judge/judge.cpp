#include "judge/judge.h"

#include <limits>

#include "judge/kind.h"
#include "op/kinds.h"

namespace assay::judge {

Arithmetic arithmetic_of(const Contract& contract, std::string_view engine, std::string_view kv) {
  const bool ggml = contract.base.starts_with("ggml"), own = engine.starts_with("assay");
  const bool exact = contract.base == "exact", reference = own && engine.ends_with(" reference");
  Coding kept = contract.kv.value_or(
      Coding{.type = ggml || contract.base == "assay/1" ? NumberType::f16 : NumberType::f32});
  if (const auto stated = coding_named(kv)) kept = *stated;
  return {.own = own,
          .f16_gelu = contract.base == "ggml-cpu",
          .goes_on_in_f64 = exact || reference,
          .kv = exact ? Coding{} : kept,
          .of = contract.of};
}

Arithmetic arithmetic_of(std::string_view contract, std::string_view engine, std::string_view kv) {
  return arithmetic_of(contract_of(contract).value_or(Contract{}), engine, kv);
}

Table formula(const op::Program& program, const op::Operation& operation, const Inputs& inputs) {
  const Subject subject{program, operation, inputs};
  return std::visit([&](const auto& p) { return formula_of(subject, p); }, operation.of);
}

Judged expect(const op::Program& program, const op::Operation& operation, const Inputs& inputs,
              const Coding& coding, const Arithmetic& arithmetic) {
  const Family family = family_of(operation);
  const Roundings& roundings = arithmetic[family];
  Inputs read = inputs;
  std::vector<Table> rounded;
  // A product's coding, and attention's limits, say what their inputs are.
  if (is_coarse(roundings.inputs) && family != Family::matmul && family != Family::attention) {
    for (const Table* value : inputs.values) {
      rounded.push_back(*value);
      for (double& x : rounded.back().data) x = round_to(x, roundings.inputs);
    }
    for (size_t i = 0; i < rounded.size(); ++i) read.values[i] = &rounded[i];
  }
  const Subject subject{program, operation, read};
  Judged out = std::visit([&](const auto& p) { return expect_of(subject, p, coding, arithmetic); },
                          operation.of);
  if (operation.is<op::KvStore>() || op::row_of(operation).moves) return out;
  const auto* route = operation.as<op::Route>();  // ids are no results of arithmetic
  round_results(roundings.result, inputs.got, route ? route->used : 0, out);
  return out;
}

namespace {

/// What the root of the mean square of n errors, each over its standard deviation, is below.
double most_rms(double n) {
  return 2.0 + 6.0 / std::sqrt(n);
}
/// What a sum of independent errors over its standard deviation is below, but for one in 10^13: the
/// roundings are evenly spread, so their bound is √3 of their deviation (Hoeffding).
constexpr double most_deviations = 14.0;

/// Where errors, taken together, are no random walk's: each is held to its own share of one.
class Walks {
 public:
  Walks(const Table& got, const Product& product, Table& limit)
      : got_(got), product_(product), limit_(limit) {}

  void hold() {
    const uint64_t rows = got_.rows, width = got_.width;
    hold_all(0, rows * width, 1);
    for (uint64_t t = 0; t < rows; ++t) hold_all(t * width, width, 1);
    for (uint64_t i = 0; i < width; ++i) hold_all(i, rows, width);
  }

 private:
  void hold_all(uint64_t first, uint64_t count, uint64_t stride) {
    double sum = 0, n = 0;
    for (uint64_t k = 0, i = first; k < count; ++k, i += stride) {
      const double deviation = product_.deviation.data[i];
      if (!std::isfinite(deviation) || deviation == 0) continue;
      const double error = (got_.data[i] - product_.want.data[i]) / deviation;
      sum += error * error;
      ++n;
    }
    if (n == 0 || std::sqrt(sum / n) <= most_rms(n)) return;
    for (uint64_t k = 0, i = first; k < count; ++k, i += stride) {
      const double size = unit * product_.magnitude.data[i];
      if (std::isfinite(product_.deviation.data[i]) && size > 0)
        limit_.data[i] = std::min(limit_.data[i], most_rms(n) * product_.deviation.data[i] / size);
    }
  }

  const Table& got_;
  const Product& product_;
  Table& limit_;
};

}  // namespace

Judged judged(Product product, const Table* got) {
  Table limit = constant(product.limit_u);
  if (!product.deviation.data.empty()) {
    limit = Table(product.want.rows, product.want.width);
    for (size_t i = 0; i < limit.data.size(); ++i) {
      const double size = unit * product.magnitude.data[i];
      const double walk = most_deviations * product.deviation.data[i] / size;
      limit.data[i] = size > 0 ? std::min(product.limit_u, walk) : product.limit_u;
    }
    if (got && got->data.size() == limit.data.size()) Walks(*got, product, limit).hold();
  }
  return {std::move(product.want), std::move(product.magnitude), std::move(limit),
          std::move(product.slack)};
}

bool holds(NumberType type, const Table& values, uint64_t first_column) {
  uint64_t others = 0, all = 0;
  for (uint64_t t = 0; t < values.rows; ++t)
    for (const double x : values.row(t).subspan(first_column)) {
      others += std::isfinite(x) && round_to(x, type) != x;
      ++all;
    }
  return others * 200 <= all;
}

void round_results(NumberType type, const Table* got, uint64_t first_column, Judged& judged) {
  if (!is_coarse(type) || (got && !holds(type, *got, first_column))) return;
  const Table& want = judged.want;
  Table limit(want.rows, want.width);
  for (uint64_t t = 0; t < want.rows; ++t)
    for (uint64_t i = 0; i < want.width; ++i) {
      double& most = limit.row(t)[i];
      most = judged.limit_at(t, i);
      if (i < first_column) continue;
      const double scale = unit * judged.scale.row(t)[i];
      const double off = most * scale + judged.slack_at(t, i);
      const double rounding = rounding_error(std::fabs(want.row(t)[i]) + off, type);
      if (scale > 0) {
        most += rounding / scale;
        continue;
      }
      if (judged.slack.data.empty()) judged.slack = Table(want.rows, want.width);
      judged.slack.row(t)[i] += rounding;
    }
  judged.limit = std::move(limit);
}

void Seen::add(const Seen& other) {
  if (elements == 0 || badness(other.max_u, other.limit_u) > badness(max_u, limit_u)) {
    max_u = other.max_u;
    limit_u = other.limit_u;
    token = other.token;
    row = other.row;
  }
  elements += other.elements;
  failures += other.failures;
  ties += other.ties;
  not_finite += other.not_finite;
  undefined += other.undefined;
}

Seen compare_element(const Table& got, const Judged& judged, uint64_t token, uint64_t row) {
  const double g = got.row(token)[row], w = judged.want.row(token)[row];
  const double scale = judged.scale.row(token)[row] * unit;
  const double limit = judged.limit_at(token, row);
  Seen one{1, 0, 0, std::isfinite(g) ? 0u : 1u, 0, 0, limit, token, row};
  if (g == w) return one;
  const double error = std::fabs(g - w);
  const double beyond = limit > 0 ? error - absolute_floor : error;
  one.max_u = beyond <= 0 ? 0 : beyond / scale;
  if (std::isnan(one.max_u)) one.max_u = std::numeric_limits<double>::infinity();
  if (one.max_u <= limit) return one;
  const double slack = judged.slack_at(token, row) / scale;
  if (one.max_u - slack <= limit) {
    one.ties = 1;
    one.max_u = std::max(0.0, one.max_u - slack);
  } else {
    one.failures = 1;
    one.undefined = std::fabs(w) <= double(std::numeric_limits<float>::max()) ? 0 : 1;
  }
  return one;
}

Seen compare(const Table& got, const Judged& judged) {
  Seen all;
  for (uint64_t t = 0; t < got.rows; ++t)
    for (uint64_t i = 0; i < got.width; ++i) all.add(compare_element(got, judged, t, i));
  return all;
}

}  // namespace assay::judge
