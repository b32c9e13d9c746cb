// Rows of activations times a matrix; faults of rows 8 to 10.
//   y[r] = Σ over chunks of 256 columns, each Σ over groups: fma(RN(dot·scale), d, ·), then
//   fma(minimum, RN(d·Σ codes), ·), and of fine scales flush(·); or fma(w, x, ·) for each column
//   (docs/numbers.md)
#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <utility>

#include "fault/list.h"
#include "fault/matrix.h"
#include "lang/lang.h"
#include "lang/math.h"

namespace assay::fault {

namespace {

constexpr uint64_t chunk = 256, quantum = 32;

/// Activations as integers: x ≈ d·code, one d each 32.
struct Coded {
  std::vector<int8_t> codes;
  Floats d;
};

/// To the nearest integer, ties to even, for |x| < 2^22.
float round_even(float x) {
  return (x + 0x1.8p+23f) - 0x1.8p+23f;
}

// m = max|x|, d = RN(m/127), code = rne(RN(x·RN(127/m))); zeros below 2^-72, NaN where not finite
Coded quantise(std::span<const float> x) {
  assert(x.size() % quantum == 0);
  Coded coded{std::vector<int8_t>(x.size(), 0), Floats(x.size() / quantum)};
  for (size_t q = 0; q < coded.d.size(); ++q) {
    const auto values = x.subspan(q * quantum, quantum);
    float largest = 0;
    bool finite = true;
    for (float value : values) {
      finite = finite && std::isfinite(value);
      largest = std::max(largest, std::fabs(value));
    }
    if (!finite || largest < k_floor_limit) {
      coded.d[q] = finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
      continue;
    }
    coded.d[q] = largest / 127.0f;
    const float inverse = 127.0f / largest;
    for (size_t i = 0; i < quantum; ++i)
      coded.codes[q * quantum + i] = int8_t(round_even(values[i] * inverse));
  }
  return coded;
}

/// Columns [0, end) of a row of codes. `backwards` takes the groups from the last to the first: as
/// right an order as any, but not the contract's.
float dot_codes(const Matrix& w, uint64_t row, const Coded& x, uint64_t end, Active fault) {
  const bool backwards = fault.is(Bug::sum_order);
  const uint64_t size = w.group_size;
  const int8_t* codes = w.codes.data() + row * w.columns;
  const uint64_t first_group = row * (w.columns / size);
  float total = 0, v = 0;
  for (uint64_t done = 0; done < end; done += size) {
    const uint64_t k = backwards ? end - size - done : done;
    int32_t dot = 0, sum = 0;
    for (uint64_t i = k; i < k + size; ++i) {
      dot += int32_t(codes[i]) * x.codes[i];
      sum += x.codes[i];
    }
    float d = x.d[k / quantum];
    if (fault.is(Bug::f16_scale_overflow)) d = k_f16_to_f32(k_f32_to_f16(d));
    v = k_fma(float(dot) * w.scale[first_group + k / size], d, v);
    float met = d * float(sum);
    if (fault.is(Bug::sums_f16)) met = k_f16_to_f32(k_f32_to_f16(met));
    if (!w.minimum.empty()) v = k_fma(w.minimum[first_group + k / size], met, v);
    if (w.fine_scales) v = k_flush(v);
    if ((done + size) % chunk == 0 || done + size >= end) {
      total += v;
      v = 0;
    }
  }
  return total;
}

/// A row of weights as numbers: scale·code + minimum, rounded once.
Floats row_values(const Matrix& w, uint64_t row) {
  if (w.group_size == 0)
    return Floats(w.values.begin() + int64_t(row * w.columns),
                  w.values.begin() + int64_t((row + 1) * w.columns));
  Floats values(w.columns);
  for (uint64_t i = 0; i < w.columns; ++i) {
    const uint64_t at = row * w.columns + i, group = at / w.group_size;
    const float code = float(w.codes[at]);
    values[i] =
        w.minimum.empty() ? w.scale[group] * code : k_fma(w.scale[group], code, w.minimum[group]);
  }
  return values;
}

float dot_values(const Floats& w, const float* x, uint64_t end, bool backwards) {
  float total = 0, v = 0;
  for (uint64_t done = 0; done < end; ++done) {
    const uint64_t k = backwards ? end - 1 - done : done;
    v = k_fma(w[k], x[k], v);
    if ((done + 1) % chunk == 0 || done + 1 == end) {
      total += v;
      v = 0;
    }
  }
  return total;
}

/// The numbers that the codes stand for, where weights are plain but the contract quantises.
Floats represented(const Coded& coded) {
  Floats x(coded.codes.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = coded.d[i / quantum] * float(coded.codes[i]);
  return x;
}

/// What of (tokens, rows, columns) the loops reach: all of it, but for the faults.
struct Bounds {
  uint64_t tokens, rows, columns;

  Bounds(const Matrix& w, uint64_t count, Active fault)
      : tokens(count), rows(w.rows), columns(w.columns) {
    const uint64_t value = uint64_t(fault.value);
    if (fault.is(Bug::k_tail)) columns -= std::min(columns, value);
    if (fault.is(Bug::split_columns)) columns -= split_tail(columns, value);
    if (fault.is(Bug::row_tail)) rows -= std::min(rows, value);
    if (fault.is(Bug::token_tail) && count > value) tokens = count / value * value;
    // The path for many tokens stops one group of 32 early.
    if (fault.is(Bug::matmul_path) && count > value) columns -= std::min(columns, quantum);
  }
};

}  // namespace

Floats multiply(const Matrix& matrix, const Floats& bias, std::span<const float> x, bool quantised,
                Active fault) {
  const uint64_t tokens = x.size() / matrix.columns;
  const bool backwards = fault.is(Bug::sum_order);
  quantised = quantised && !fault.is(Bug::contract_f32);
  const bool integers = quantised && matrix.group_size != 0;
  std::vector<Coded> coded;
  std::vector<Floats> plain;
  for (uint64_t t = 0; t < tokens; ++t) {
    const uint64_t source = t - fault.choose<uint64_t>(Bug::unlisted_neighbour, t > 0, 0);
    Floats row(x.begin() + int64_t(source * matrix.columns),
               x.begin() + int64_t((source + 1) * matrix.columns));
    for (size_t c = 0; fault.is(Bug::columns_permuted) && c + 1 < row.size(); c += 2)
      std::swap(row[c], row[c + 1]);
    if (quantised) coded.push_back(quantise(row));
    if (!integers) plain.push_back(quantised ? represented(coded[t]) : row);
  }
  Floats y(tokens * matrix.rows, 0.0f);
  const Bounds bounds(matrix, tokens, fault);
  for (uint64_t r = 0; r < bounds.rows; ++r) {
    const bool edge = fault.is(Bug::edge_row) && r + 1 == matrix.rows && r > 0;
    const uint64_t row = edge ? r - 1 : r;  // a row index clamped one too low
    const Floats values = integers ? Floats() : row_values(matrix, row);
    for (uint64_t t = 0; t < bounds.tokens; ++t) {
      float& result = y[t * matrix.rows + r];
      result = integers ? dot_codes(matrix, row, coded[t], bounds.columns, fault)
                        : dot_values(values, plain[t].data(), bounds.columns, backwards);
      if (!bias.empty()) result += bias[row];
      if (!bias.empty() && fault.is(Bug::bias_twice)) result += bias[row];
    }
  }
  return y;
}

}  // namespace assay::fault
