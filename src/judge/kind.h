// What each kind's file must define, and what these files share. Included by src/judge/ only.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "judge/judge.h"

namespace assay::judge {

/// An operation together with what it reads.
struct Subject {
  const op::Program& program;
  const op::Operation& operation;
  const Inputs& inputs;

  const Table& x(size_t i = 0) const { return *inputs.values[i]; }
  const op::Weight& weight() const { return program.weights[operation.weight]; }
  /// The one row of its bias; empty where it has none.
  std::vector<double> bias() const {
    const op::Weight* bias = program.bias_of(operation);
    return bias ? decode_row(*bias, 0) : std::vector<double>();
  }
  uint32_t position(uint64_t row) const { return inputs.step.positions[row]; }
  const Cache& cache(uint64_t row, uint32_t index) const {
    const auto& sequences = inputs.step.sequences;
    return inputs.caches[sequences.empty() ? 0 : sequences[row]][index];
  }
};

/// Each kind's file specialises both templates; the program does not link if a kind lacks them.
template <class Parameters>
Table formula_of(const Subject& subject, const Parameters& parameters);
template <class Parameters>
Judged expect_of(const Subject& subject, const Parameters& parameters, const Coding& coding,
                 const Arithmetic& arithmetic);

/// What another engine's exp, division and rsqrt may add: a few ulp more than ours.
inline constexpr double foreign_ulps = 8.0;
inline double foreign(const Arithmetic& arithmetic) {
  return arithmetic.own ? 0.0 : foreign_ulps;
}

/// In u: what rounding a value between inputs and result of an elementwise operation may add.
inline double between(const Arithmetic& arithmetic, double roundings = 1) {
  return roundings * coarse_ulp(arithmetic[Family::elementwise].products) / unit;
}

/// One limit for all elements.
inline Table constant(double value) {
  Table table(1, 1);
  table.data[0] = value;
  return table;
}

/// Every element within `limit_u` u of itself.
inline Judged of_rows(Table want, double limit_u) {
  Table scale = want;
  for (double& value : scale.data) value = std::fabs(value);
  return {std::move(want), std::move(scale), constant(limit_u), {}};
}

/// Row t is one_row(t), `width` wide.
template <class OneRow>
Table by_row(uint64_t rows, uint64_t width, const OneRow& one_row) {
  Table out(rows, width);
  for (uint64_t t = 0; t < rows; ++t) {
    const auto row = one_row(t);
    std::copy(row.begin(), row.end(), out.row(t).begin());
  }
  return out;
}

}  // namespace assay::judge
