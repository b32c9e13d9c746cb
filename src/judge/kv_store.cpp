#include <cassert>
#include "judge/kind.h"

namespace assay::judge {

void Cache::store(uint32_t position, std::span<const double> key, std::span<const double> value) {
  assert(position <= keys.size());
  keys.resize(position);
  values.resize(position);
  keys.emplace_back(key.begin(), key.end());
  values.emplace_back(value.begin(), value.end());
}

// f16 has 11 significant bits down to 2^-14 and the fixed unit 2^-24 below.
double round_to_f16(double x) {
  if (!std::isfinite(x) || x == 0) return x;
  const int exponent = std::max(std::ilogb(x), -14);
  const double spacing = std::ldexp(1.0, exponent - 10);
  const double rounded =
      std::nearbyint(x / spacing) * spacing;  // both products exact: spacing is a power of two
  return std::fabs(rounded) > 65504.0 ? std::copysign(std::numeric_limits<double>::infinity(), x)
                                      : rounded;
}

// Keys and values side by side.
template <>
Table formula_of(const Subject& subject, const op::KvStore&) {
  const Table &keys = subject.x(0), &values = subject.x(1);
  Table both(keys.rows, keys.width + values.width);
  for (uint64_t t = 0; t < both.rows; ++t)
    std::ranges::copy(values.row(t), std::ranges::copy(keys.row(t), both.row(t).begin()).out);
  return both;
}

/// Where the engine shows what it holds of all positions, not of the step's alone, those before the
/// step must be as they were stored; of what nobody saw being stored, anything is right.
static Table with_earlier(const Subject& subject, const op::KvStore& p, Table step) {
  const Table* got = subject.inputs.got;
  if (!got || got->rows <= step.rows || got->width != step.width) return step;
  const Cache& cache = subject.cache(0, p.cache);
  const uint64_t before = got->rows - step.rows;
  Table whole = *got;
  for (uint64_t t = 0; t < before && t < cache.keys.size(); ++t)
    std::ranges::copy(cache.values[t], std::ranges::copy(cache.keys[t], whole.row(t).begin()).out);
  for (uint64_t t = 0; t < step.rows; ++t)
    std::ranges::copy(step.row(t), whole.row(before + t).begin());
  return whole;
}

template <>
Judged expect_of(const Subject& subject, const op::KvStore& p, const Coding&,
                 const Arithmetic& arithmetic) {
  Table want = formula_of(subject, p);
  if (arithmetic.f16_cache)
    for (double& value : want.data) value = round_to_f16(value);
  return of_rows(with_earlier(subject, p, std::move(want)), copy_limit);
}

}  // namespace assay::judge
