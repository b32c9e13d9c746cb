#include "judge/judge.h"

#include <limits>

#include "judge/kind.h"

namespace assay::judge {

Arithmetic arithmetic_of(std::string_view contract, std::string_view engine, std::string_view kv) {
  const bool ggml = contract.starts_with("ggml"), own = engine.starts_with("assay");
  const bool exact = contract == "exact", reference = own && engine.ends_with(" reference");
  const bool halves = kv.empty() ? ggml || contract == "assay/1" : kv == "f16";
  return {.own = own,
          .f16_attention = ggml,
          .f16_scores = contract == "ggml-cuda",
          .f16_cache = halves && !exact,
          .f16_gelu = contract == "ggml-cpu",
          .goes_on_in_f64 = exact || reference};
}

Table formula(const op::Program& program, const op::Operation& operation, const Inputs& inputs) {
  const Subject subject{program, operation, inputs};
  return std::visit([&](const auto& p) { return formula_of(subject, p); }, operation.of);
}

Judged expect(const op::Program& program, const op::Operation& operation, const Inputs& inputs,
              const Coding& coding, const Arithmetic& arithmetic) {
  const Subject subject{program, operation, inputs};
  return std::visit([&](const auto& p) { return expect_of(subject, p, coding, arithmetic); },
                    operation.of);
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
