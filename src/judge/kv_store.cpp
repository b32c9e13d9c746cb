#include <cassert>

#include "judge/kind.h"

namespace assay::judge {

void Cache::store(uint32_t position, std::span<const double> key, std::span<const double> value) {
  assert(position <= keys.size());
  const auto put = [position](auto& rows, std::span<const double> row) {
    rows.resize(position);
    rows.emplace_back(row.begin(), row.end());
  };
  put(keys, key);
  put(values, value);
  if (key_slack.empty()) return;
  put(key_slack, std::vector<double>(key.size(), 0.0));
  put(value_slack, std::vector<double>(value.size(), 0.0));
}

void Cache::allow(std::span<const double> key, std::span<const double> value) {
  const auto put = [this](auto& rows, auto& of, std::span<const double> row) {
    for (size_t p = rows.size(); p < keys.size(); ++p) rows.emplace_back(of[p].size(), 0.0);
    rows.back().assign(row.begin(), row.end());
  };
  put(key_slack, keys, key);
  put(value_slack, values, value);
}

double round_to_f16(double x) {
  return round_to(x, NumberType::f16);
}

static Table side_by_side(const Table& keys, const Table& values) {
  Table both(keys.rows, keys.width + values.width);
  for (uint64_t t = 0; t < both.rows; ++t)
    std::ranges::copy(values.row(t), std::ranges::copy(keys.row(t), both.row(t).begin()).out);
  return both;
}

/// Where the engine shows what it holds of all positions, not of the step's alone: rows for those
/// before the step, as `keys` and `values` have them. What these do not have is `own`'s.
static Table with_earlier(const Table& step, const Table& own,
                          std::span<const std::vector<double>> keys,
                          std::span<const std::vector<double>> values) {
  const uint64_t before = own.rows - step.rows;
  Table whole = own;
  for (uint64_t t = 0; t < before && t < keys.size(); ++t)
    std::ranges::copy(values[t], std::ranges::copy(keys[t], whole.row(t).begin()).out);
  for (uint64_t t = 0; t < step.rows; ++t)
    std::ranges::copy(step.row(t), whole.row(before + t).begin());
  return whole;
}

template <>
Table formula_of(const Subject& subject, const op::KvStore&) {
  return side_by_side(subject.x(0), subject.x(1));
}

template <>
Judged expect_of(const Subject& subject, const op::KvStore& p, const Coding&,
                 const Arithmetic& arithmetic) {
  const Table* got = subject.inputs.got;
  const Decoded keys = decoded(subject.x(0), arithmetic.kv),
                values = decoded(subject.x(1), arithmetic.kv);
  Table want = side_by_side(keys.values, values.values), slack;
  if (!keys.slack.data.empty() || !values.slack.data.empty()) {
    const auto of = [](const Decoded& one) {
      return one.slack.data.empty() ? Table(one.values.rows, one.values.width) : one.slack;
    };
    slack = side_by_side(of(keys), of(values));
  }
  // Those before the step must be as they were stored; of what nobody saw being stored, anything is
  // right.
  if (got && got->rows > want.rows && got->width == want.width) {
    const Cache& cache = subject.cache(0, p.cache);
    want = with_earlier(want, *got, cache.keys, cache.values);
    if (slack.data.empty()) slack = Table(subject.x(0).rows, want.width);
    slack = with_earlier(slack, Table(want.rows, want.width), cache.key_slack, cache.value_slack);
  }
  // A scale times a code is rounded once where it is widened.
  const bool scaled = arithmetic.kv.kind == Coding::Kind::integers || arithmetic.kv.scaled;
  Judged out = of_rows(std::move(want), scaled ? 1.0 : copy_limit);
  out.slack = std::move(slack);
  return out;
}

}  // namespace assay::judge
