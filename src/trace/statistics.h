// Statistics of a tensor, and the table of a debugging log, with one line per layer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/sha256.h"

namespace assay::trace {

/// Over all finite and infinite values; NaN are counted and left out of the rest. Sums in double.
struct Statistics {
  double rms = 0, mean = 0;
  float min = 0, max = 0, max_abs = 0;
  uint64_t nan = 0, infinite = 0, count = 0;  ///< count: all but NaN
};
Statistics statistics(std::span<const float> values);

struct Ranked {
  int32_t id;
  float logit;
};
/// The k highest logits, best first, ties to the lower id; NaN never.
std::vector<Ranked> top(std::span<const float> logits, size_t k);

/// Hash of logits: little-endian f32, NaN as 7fc00000.
class LogitsHash {
 public:
  void update(std::span<const float> logits);
  std::string hex() { return hash_.hex(); }
  std::string so_far() const { return hash_.so_far(); }

 private:
  Sha256 hash_;
};

}  // namespace assay::trace
