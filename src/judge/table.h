// Rows of f64 values, and a cache of keys and values: what the judge computes with.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace assay::judge {

/// (rows, width) row-major.
struct Table {
  uint64_t rows = 0, width = 0;
  std::vector<double> data;

  Table() = default;
  Table(uint64_t row_count, uint64_t row_width)
      : rows(row_count), width(row_width), data(row_count * row_width) {}
  std::span<double> row(uint64_t r) { return std::span(data).subspan(r * width, width); }
  std::span<const double> row(uint64_t r) const {
    return std::span(data).subspan(r * width, width);
  }
};

/// One cache of one sequence: keys (positions, kv_heads·key_dim), values (positions,
/// kv_heads·value_dim).
struct Cache {
  std::vector<std::vector<double>> keys, values;
  /// How far off what an engine keeps may be, where codes are near a tie; empty: nowhere.
  std::vector<std::vector<double>> key_slack, value_slack;

  /// Writes one position; what stood behind it is forgotten.
  void store(uint32_t position, std::span<const double> key, std::span<const double> value);
  /// The slack of the position that was written last.
  void allow(std::span<const double> key, std::span<const double> value);
};

/// The caches of one sequence, by index of the program's.
using Caches = std::vector<Cache>;

}  // namespace assay::judge
