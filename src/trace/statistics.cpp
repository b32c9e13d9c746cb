#include "trace/statistics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "base/wide.h"

namespace assay::trace {

namespace {

constexpr size_t lane_count = 16;

/// Sums of lane i are those of the values i, i + 16, …
struct Lanes {
  std::array<double, lane_count> squares{}, sum{};
  std::array<float, lane_count> low, high;
};

/// Whole multiples of 16 values. Whether none is NaN; where one is, the lanes mean nothing.
ASSAY_WIDE bool add_lanes(const float* x, size_t count, Lanes& lanes) {
  std::array<int32_t, lane_count> numbers;
  numbers.fill(-1);
  for (size_t i = 0; i < count; i += lane_count)
    for (size_t l = 0; l < lane_count; ++l) {
      const float value = x[i + l];
      const double wide = double(value);
      lanes.squares[l] += wide * wide;
      lanes.sum[l] += wide;
      lanes.low[l] = value < lanes.low[l] ? value : lanes.low[l];
      lanes.high[l] = value > lanes.high[l] ? value : lanes.high[l];
      numbers[l] &= -int32_t(value == value);
    }
  return std::ranges::all_of(numbers, [](int32_t all) { return all != 0; });
}

}  // namespace

Statistics statistics(std::span<const float> values) {
  Statistics s;
  double squares = 0, sum = 0;
  s.min = std::numeric_limits<float>::infinity();
  s.max = -s.min;
  const size_t whole = values.size() - values.size() % lane_count;
  Lanes lanes;
  lanes.low.fill(s.min);
  lanes.high.fill(s.max);
  std::span<const float> rest = values;
  if (add_lanes(values.data(), whole, lanes)) {
    rest = values.subspan(whole);
    s.count = whole;
    for (size_t l = 0; l < lane_count; ++l) {
      squares += lanes.squares[l];
      sum += lanes.sum[l];
      s.min = std::min(s.min, lanes.low[l]);
      s.max = std::max(s.max, lanes.high[l]);
    }
  }
  for (float x : rest) {
    if (std::isnan(x)) {
      ++s.nan;
      continue;
    }
    ++s.count;
    squares += double(x) * x;
    sum += x;
    s.min = std::min(s.min, x);
    s.max = std::max(s.max, x);
  }
  if (s.count == 0) {
    s.min = s.max = s.max_abs = std::numeric_limits<float>::quiet_NaN();
    s.rms = s.mean = s.min;
    return s;
  }
  s.rms = std::sqrt(squares / double(s.count));
  s.mean = sum / double(s.count);
  s.max_abs = std::max(std::fabs(s.min), std::fabs(s.max));
  if (std::isinf(s.max_abs))
    s.infinite = uint64_t(std::ranges::count_if(values, [](float x) { return std::isinf(x); }));
  return s;
}

std::vector<Ranked> top(std::span<const float> logits, size_t k) {
  std::vector<Ranked> all;
  for (size_t i = 0; i < logits.size(); ++i)
    if (!std::isnan(logits[i])) all.push_back({int32_t(i), logits[i]});
  k = std::min(k, all.size());
  std::partial_sort(all.begin(), all.begin() + std::ptrdiff_t(k), all.end(),
                    [](const Ranked& a, const Ranked& b) {
                      return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
                    });
  all.resize(k);
  return all;
}

void LogitsHash::update(std::span<const float> logits) {
  std::vector<uint8_t> bytes(logits.size() * 4);
  for (size_t i = 0; i < logits.size(); ++i) {
    const uint32_t bits = std::isnan(logits[i]) ? 0x7fc00000u : std::bit_cast<uint32_t>(logits[i]);
    for (int b = 0; b < 4; ++b) bytes[4 * i + size_t(b)] = uint8_t(bits >> (8 * b));
  }
  hash_.update(bytes);
}

}  // namespace assay::trace
