#include "trace/statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace assay::trace {

Statistics statistics(std::span<const float> values) {
  Statistics s;
  double squares = 0, sum = 0;
  s.min = std::numeric_limits<float>::infinity();
  s.max = -s.min;
  for (float x : values) {
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
