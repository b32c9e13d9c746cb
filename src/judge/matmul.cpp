#include "judge/kind.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <limits>

#include "judge/product.h"
#include "quant/formats.h"

namespace assay::judge {

std::vector<double> decode_row(const op::Weight& weight, uint64_t row) {
  std::vector<float> decoded(weight.columns);
  [[maybe_unused]] const bool known = quant::decode_row(weight.type, weight.row(row), decoded);
  assert(known);
  return {decoded.begin(), decoded.end()};
}

// m = max|x|, d = RN(m/127), code = rne(RN(x·RN(127/m))), all in f32; the value that the integers
// stand for is d·code.
static void quantise_group(std::span<const double> x, std::span<double> y) {
  float m = 0;
  bool finite = true;
  for (double value : x) {
    finite = finite && std::isfinite(float(value));
    m = std::max(m, std::fabs(float(value)));
  }
  const double d = !finite        ? std::numeric_limits<double>::quiet_NaN()
                   : m < 0x1p-72f ? 0.0
                                  : double(m / 127.0f);
  const float inverse = finite && m >= 0x1p-72f ? 127.0f / m : 0.0f;
  for (size_t i = 0; i < x.size(); ++i) {
    const float code = inverse == 0.0f ? 0.0f : std::nearbyint(float(x[i]) * inverse);
    y[i] = d * double(code);
  }
}

std::vector<double> quantise(std::span<const double> x) {
  std::vector<double> y(x.size());
  for (size_t first = 0; first < x.size(); first += 32) {
    const size_t count = std::min<size_t>(32, x.size() - first);
    quantise_group(x.subspan(first, count), std::span(y).subspan(first, count));
  }
  return y;
}

bool meets_quantised(const op::Weight& weight) {
  return quant::info(weight.type).block_size > 1;
}

// Σ_c w[c]·x[t, c] for four tokens at once: their sums are independent, so the machine need not
// wait for one before it adds to the next.
static std::array<double, 4> dot_four(std::span<const double> w, const double* x_by_column) {
  std::array<double, 4> sum = {};
  for (size_t c = 0; c < w.size(); ++c)
    for (size_t t = 0; t < 4; ++t) sum[t] += w[c] * x_by_column[4 * c + t];
  return sum;
}

// y[t, r] = Σ_c W[r, c]·x[t, c] + b[r], with row r of W from `row_of`. A missing fourth token
// counts as zeros.
template <class RowOf>
static Table multiply(uint64_t rows, const RowOf& row_of, std::span<const double> b,
                      const Table& x) {
  const uint64_t quads = (x.rows + 3) / 4, columns = x.width;
  std::vector<double> by_column(quads * columns * 4);  // (quads, columns, 4)
  for (uint64_t t = 0; t < x.rows; ++t)
    for (uint64_t c = 0; c < columns; ++c)
      by_column[(t / 4 * columns + c) * 4 + t % 4] = x.row(t)[c];
  Table y(x.rows, rows);
  for (uint64_t r = 0; r < rows; ++r) {
    const std::vector<double> w = row_of(r);
    for (uint64_t quad = 0; quad < quads; ++quad) {
      const std::array<double, 4> sum = dot_four(w, &by_column[quad * columns * 4]);
      for (uint64_t t = quad * 4; t < std::min(x.rows, quad * 4 + 4); ++t)
        y.row(t)[r] = sum[t % 4] + (b.empty() ? 0.0 : b[r]);
    }
  }
  return y;
}

Table matmul(const op::Weight& weight, const op::Weight* bias, const Table& x) {
  assert(x.width == weight.columns);
  const std::vector<double> b = bias ? decode_row(*bias, 0) : std::vector<double>();
  return multiply(
      weight.rows, [&](uint64_t r) { return decode_row(weight, r); }, b, x);
}

// |scale·(code − offset)| + |minimum|, which is |w| where a format has no minimum
static std::vector<double> parts_of_row(const op::Weight& weight, uint64_t row) {
  std::vector<double> parts(weight.columns);
  const uint8_t* bytes = weight.row(row).data();
  quant::visit(weight.type, [&]<class F>() {
    for (uint64_t i = 0; i < parts.size(); ++i) {
      const uint8_t* block = bytes + i / F::block_size * F::block_bytes;
      const uint32_t lane = uint32_t(i % F::block_size);
      double minimum = 0;
      if constexpr (!quant::is_float_format<F>) {
        if constexpr (F::has_minimum) minimum = double(F::minimum(block, lane / F::group_size));
      }
      parts[i] = std::fabs(double(quant::decode<F>(block, lane)) - minimum) + std::fabs(minimum);
    }
  });
  return parts;
}

Table matmul_magnitude(const op::Weight& weight, const op::Weight* bias, const Table& x,
                       Terms terms) {
  const auto absolute = [](std::vector<double> values) {
    for (double& value : values) value = std::fabs(value);
    return values;
  };
  Table sizes = x;
  sizes.data = absolute(x.data);
  const std::vector<double> b = bias ? absolute(decode_row(*bias, 0)) : std::vector<double>();
  const auto row_of = [&](uint64_t r) {
    return terms == Terms::parts ? parts_of_row(weight, r) : absolute(decode_row(weight, r));
  };
  return multiply(weight.rows, row_of, b, sizes);
}

double quantised_matmul_limit(uint64_t columns, uint32_t steps) {
  const double factor = std::max(1.0, double(steps) / 2.0);
  return 8.0 + 4.0 * std::sqrt(factor * double(columns) / 32.0);
}

uint32_t chain_steps(uint32_t weight_type) {
  uint32_t steps = 0;
  quant::visit(weight_type, [&]<class F>() {
    if constexpr (!quant::is_float_format<F>) steps = 32 / F::group_size * (F::has_minimum ? 2 : 1);
  });
  return steps;
}

double float_matmul_limit(uint64_t columns, bool bias) {
  const double k = double(columns);
  return std::min(8.0 + 4.0 * std::sqrt(k), k / (1.0 - k * unit)) + (bias ? 1.0 : 0.0);
}

template <>
Table formula_of(const Subject& subject, const op::Matmul&) {
  return matmul(subject.weight(), subject.program.bias_of(subject.operation), subject.x());
}

/// Where a scale or a sum that a coding keeps as f16 overflows, an engine gives NaN, and what is right is
/// the product without it: of those tokens.
static void without_overflow(const op::Weight& weight, const op::Weight* bias, const Table& x,
                             const Coding& coding, Product& product) {
  const auto finite = [](double value) { return std::isfinite(value); };
  if (!coding.meets_codes() || std::ranges::all_of(product.want.data, finite) ||
      !std::ranges::all_of(x.data, finite))
    return;
  Coding whole = coding;
  whole.scale_is_f16 = whole.products_are_f16 = false;
  whole.sums = Coding::Sums::codes;
  const Product right = multiply(weight, bias, x, whole);
  for (uint64_t t = 0; t < x.rows; ++t) {
    if (std::ranges::all_of(product.want.row(t), finite)) continue;
    std::ranges::copy(right.want.row(t), product.want.row(t).begin());
    std::ranges::copy(right.magnitude.row(t), product.magnitude.row(t).begin());
    if (product.slack.data.empty()) continue;
    if (right.slack.data.empty())
      std::ranges::fill(product.slack.row(t), 0.0);
    else
      std::ranges::copy(right.slack.row(t), product.slack.row(t).begin());
  }
}

template <>
Judged expect_of(const Subject& subject, const op::Matmul&, const Coding& coding,
                 const Arithmetic&) {
  const op::Weight* bias = subject.program.bias_of(subject.operation);
  Product product = multiply(subject.weight(), bias, subject.x(), coding);
  without_overflow(subject.weight(), bias, subject.x(), coding, product);
  return judged(std::move(product), subject.inputs.got);
}

}  // namespace assay::judge
