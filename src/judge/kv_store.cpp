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

template <>
Table formula_of(const Subject& subject, const op::KvStore&) {
  return side_by_side(subject.x(0), subject.x(1));
}

template <>
Judged expect_of(const Subject& subject, const op::KvStore&, const Coding&,
                 const Arithmetic& arithmetic) {
  Decoded keys = decoded(subject.x(0), arithmetic.kv),
          values = decoded(subject.x(1), arithmetic.kv);
  // A scale times a code is rounded once where it is widened.
  const bool scaled = arithmetic.kv.kind == Coding::Kind::integers || arithmetic.kv.scaled;
  Judged out = of_rows(side_by_side(keys.values, values.values), scaled ? 1.0 : copy_limit);
  if (keys.slack.data.empty() && values.slack.data.empty()) return out;
  for (auto* of : {&keys, &values})
    if (of->slack.data.empty()) of->slack = Table(of->values.rows, of->values.width);
  out.slack = side_by_side(keys.slack, values.slack);
  return out;
}

}  // namespace assay::judge
