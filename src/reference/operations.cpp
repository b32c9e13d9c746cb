#include "reference/operations.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <limits>

#include "quant/formats.h"

namespace assay::reference {

void Cache::store(uint32_t position, std::span<const double> key, std::span<const double> value) {
  assert(position <= keys.size());
  keys.resize(position);
  values.resize(position);
  keys.emplace_back(key.begin(), key.end());
  values.emplace_back(value.begin(), value.end());
}

std::vector<double> decode_row(const op::Weight& weight, uint64_t row) {
  std::vector<float> decoded(weight.columns);
  [[maybe_unused]] const bool known = quant::decode_row(weight.type, weight.row(row), decoded);
  assert(known);
  return {decoded.begin(), decoded.end()};
}

// y[i] = x[i] / √(Σ x²/n + eps) · w[i]
std::vector<double> rms_norm(std::span<const double> x, std::span<const double> w, double eps) {
  double sum = 0;
  for (double value : x) sum += value * value;
  const double root = std::sqrt(sum / double(x.size()) + eps);
  std::vector<double> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] / root * w[i];
  return y;
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

// angle = position·frequency[i]; y₀ = (x₀·cos − x₁·sin)·magnitude, y₁ = (x₀·sin +
// x₁·cos)·magnitude. The product and libm's cos and sin are taken in long double: an f64 angle of
// 1e5 radians is off by 1e-11.
std::vector<double> rope(std::span<const double> x, const op::Rope& rope, uint32_t heads,
                         uint32_t position) {
  const size_t head_dim = x.size() / heads, half = rope.dimensions / 2;
  std::vector<double> y(x.begin(), x.end());
  for (size_t i = 0; i < half; ++i) {
    const long double angle = static_cast<long double>(position) * rope.frequency[i];
    const double cosine = double(std::cos(angle)), sine = double(std::sin(angle));
    const size_t first = rope.adjacent ? 2 * i : i, second = rope.adjacent ? 2 * i + 1 : i + half;
    for (size_t head = 0; head < heads; ++head) {
      const double x0 = x[head * head_dim + first], x1 = x[head * head_dim + second];
      y[head * head_dim + first] = (x0 * cosine - x1 * sine) * rope.magnitude;
      y[head * head_dim + second] = (x0 * sine + x1 * cosine) * rope.magnitude;
    }
  }
  return y;
}

// f16 has 11 significant bits down to 2^-14 and the fixed unit 2^-24 below.
double round_to_f16(double x) {
  if (!std::isfinite(x) || x == 0) return x;
  const int exponent = std::max(std::ilogb(x), -14);
  const double unit = std::ldexp(1.0, exponent - 10);
  const double rounded =
      std::nearbyint(x / unit) * unit;  // both products exact: unit is a power of two
  return std::fabs(rounded) > 65504.0 ? std::copysign(std::numeric_limits<double>::infinity(), x)
                                      : rounded;
}

// p[j] = e^(s[j] − max s) / Σ_k e^(s[k] − max s). A NaN score makes the sum NaN, and so every p.
std::vector<double> softmax(std::span<const double> scores) {
  double largest = scores[0], sum = 0;
  for (double score : scores) largest = std::max(largest, score);
  std::vector<double> p(scores.size());
  for (size_t j = 0; j < scores.size(); ++j) sum += p[j] = std::exp(scores[j] - largest);
  for (double& value : p) value /= sum;
  return p;
}

// s[j] = scale·Σ_d q[d]·K[j, d],  p = softmax(s),  y[i] = Σ_j p[j]·V[j, i],  j <= position
Attended attend(std::span<const double> query, const Cache& cache, uint32_t position,
                uint32_t kv_head, const op::Attention& attention) {
  const size_t keys = size_t(position) + 1;
  assert(keys <= cache.keys.size());
  Attended head{std::vector<double>(keys),
                std::vector<double>(keys),
                {},
                std::vector<double>(attention.value_dim)};
  for (size_t j = 0; j < keys; ++j) {
    const double* key = &cache.keys[j][size_t(kv_head) * attention.key_dim];
    double sum = 0, magnitude = 0;
    for (size_t d = 0; d < attention.key_dim; ++d) {
      sum += query[d] * key[d];
      magnitude += std::fabs(query[d] * key[d]);
    }
    head.score[j] = sum * double(attention.scale);
    head.magnitude[j] = magnitude * std::fabs(double(attention.scale));
  }
  head.probability = softmax(head.score);
  for (size_t j = 0; j < keys; ++j) {
    const double* value = &cache.values[j][size_t(kv_head) * attention.value_dim];
    for (size_t i = 0; i < attention.value_dim; ++i)
      head.output[i] += head.probability[j] * value[i];
  }
  return head;
}

std::vector<double> attention(std::span<const double> query, const Cache& cache, uint32_t position,
                              const op::Attention& attention) {
  const uint32_t group = attention.heads / attention.kv_heads;
  std::vector<double> y;
  for (uint32_t head = 0; head < attention.heads; ++head) {
    const auto q = query.subspan(size_t(head) * attention.key_dim, attention.key_dim);
    const Attended attended = attend(q, cache, position, head / group, attention);
    y.insert(y.end(), attended.output.begin(), attended.output.end());
  }
  return y;
}

// y[i] = g[i] / (1 + e^−g[i]) · u[i]
std::vector<double> swiglu(std::span<const double> gate, std::span<const double> up) {
  std::vector<double> y(gate.size());
  for (size_t i = 0; i < gate.size(); ++i) y[i] = gate[i] / (1.0 + std::exp(-gate[i])) * up[i];
  return y;
}

// y[i] = a[i] + b[i]
std::vector<double> add(std::span<const double> a, std::span<const double> b) {
  std::vector<double> y(a.size());
  for (size_t i = 0; i < a.size(); ++i) y[i] = a[i] + b[i];
  return y;
}

// y[i] = x[i]·factor + b[i]
std::vector<double> scale(std::span<const double> x, double factor, std::span<const double> b) {
  std::vector<double> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * factor + (b.empty() ? 0.0 : b[i]);
  return y;
}

}  // namespace assay::reference
