#include "judge/kind.h"

namespace assay::judge {

// angle = position·frequency[i]; y₀ = (x₀·cos − x₁·sin)·magnitude, y₁ = (x₀·sin +
// x₁·cos)·magnitude. The product and libm's cos and sin are taken in long double: an f64 angle of
// 1e5 radians is off by 1e-11.
std::vector<double> rope(std::span<const double> x, const op::RopeTable& rope, uint32_t heads,
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

template <>
Table formula_of(const Subject& subject, const op::Rope& p) {
  const op::RopeTable& table = subject.program.rope_tables[p.table];
  return by_row(subject.x().rows, subject.x().width, [&](uint64_t t) {
    return rope(subject.x().row(t), table, p.heads, subject.position(t));
  });
}

double rope_limit(uint32_t position) {
  return 4.0 + double(position) * 0x1p-28;
}

/// In u of the pair's norm. Other engines compute the angle in f32, by powers of a ratio:
/// position·frequency·(one ulp for the power, one for each of the i products, one for the angle).
static double limit_of_pair(const op::RopeTable& rope, uint32_t position, size_t pair,
                            const Arithmetic& arithmetic) {
  const double own = rope_limit(position);
  if (arithmetic.own) return own;
  return own + foreign_ulps +
         double(position) * std::fabs(rope.frequency[pair]) * (4.0 + 2.0 * double(pair));
}

template <>
Judged expect_of(const Subject& subject, const op::Rope& p, const Coding&,
                 const Arithmetic& arithmetic) {
  const op::RopeTable& turn = subject.program.rope_tables[p.table];
  const Table& x = subject.x();
  // Lanes that do not turn are copies: scale and limit 0.
  Judged out{formula_of(subject, p), Table(x.rows, x.width), Table(x.rows, x.width), {}};
  const size_t head_dim = x.width / p.heads, half = turn.dimensions / 2;
  for (uint64_t t = 0; t < x.rows; ++t) {
    const auto row = x.row(t);
    for (size_t i = 0; i < x.width; ++i) {
      const size_t lane = i % head_dim;
      if (lane >= turn.dimensions) continue;
      const size_t partner = turn.adjacent ? i ^ 1 : lane < half ? i + half : i - half;
      const size_t pair = turn.adjacent ? lane / 2 : lane % half;
      out.scale.row(t)[i] = std::hypot(row[i], row[partner]) * std::fabs(turn.magnitude);
      out.limit.row(t)[i] = limit_of_pair(turn, subject.position(t), pair, arithmetic);
    }
  }
  return out;
}

}  // namespace assay::judge
