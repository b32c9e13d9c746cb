#include "trace/statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace assay::trace {

namespace {

/// Eight lanes, so that a compiler can make vectors of them and no sum waits for the one before.
struct Lanes {
  static constexpr size_t count = 8;
  double sum[count] = {}, squares[count] = {};
  float min[count], max[count];
  uint32_t nan[count] = {}, infinite[count] = {};

  Lanes() {
    std::fill(min, min + count, std::numeric_limits<float>::infinity());
    std::fill(max, max + count, -std::numeric_limits<float>::infinity());
  }
  void add(size_t lane, float x) {
    const float kept = x == x ? x : 0.0f;
    sum[lane] += double(kept);
    squares[lane] += double(kept) * double(kept);
    min[lane] = x < min[lane] ? x : min[lane];  // false for NaN
    max[lane] = x > max[lane] ? x : max[lane];
    nan[lane] += x != x;
    infinite[lane] += std::fabs(x) > std::numeric_limits<float>::max();
  }
};

}  // namespace

Statistics statistics(std::span<const float> values) {
  Lanes lanes;
  const size_t whole = values.size() / Lanes::count * Lanes::count;
  for (size_t i = 0; i < whole; i += Lanes::count)
    for (size_t lane = 0; lane < Lanes::count; ++lane) lanes.add(lane, values[i + lane]);
  for (size_t i = whole; i < values.size(); ++i) lanes.add(i - whole, values[i]);
  Statistics s;
  double squares = 0, sum = 0;
  for (size_t lane = 0; lane < Lanes::count; ++lane) {
    sum += lanes.sum[lane];
    squares += lanes.squares[lane];
    s.nan += lanes.nan[lane];
    s.infinite += lanes.infinite[lane];
  }
  s.count = values.size() - s.nan;
  s.min = *std::min_element(lanes.min, lanes.min + Lanes::count);
  s.max = *std::max_element(lanes.max, lanes.max + Lanes::count);
  if (s.count == 0) {
    s.min = s.max = s.max_abs = std::numeric_limits<float>::quiet_NaN();
    s.rms = s.mean = s.min;
    return s;
  }
  s.rms = std::sqrt(squares / double(s.count));
  s.mean = sum / double(s.count);
  s.max_abs = std::max(std::fabs(s.min), std::fabs(s.max));
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
