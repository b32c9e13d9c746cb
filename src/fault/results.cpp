// Results that were computed right and then spoilt: faults of row 35.
#include <algorithm>
#include <bit>
#include <utility>

#include "fault/operations.h"

namespace assay::fault {

namespace {

float with_bit(float x, uint32_t bit, bool flip) {
  const auto bits = std::bit_cast<uint32_t>(x), mask = 1u << bit % 32;
  return std::bit_cast<float>(flip ? bits ^ mask : bits | mask);
}

}  // namespace

void spoil(Floats& y, size_t rows, Active fault) {
  if (rows == 0) return;
  const size_t width = y.size() / rows, quarter = width / 4, value = size_t(fault.value);
  const auto at = [&](size_t t, size_t i) -> float& { return y[t * width + i]; };
  switch (fault.bug) {
    case Bug::tile_transposed: {
      if (value > rows || value > width) return;
      const size_t token = rows / value * value - value, channel = width / value * value - value;
      for (size_t i = 0; i < value; ++i)
        for (size_t j = 0; j < i; ++j)
          std::swap(at(token + i, channel + j), at(token + j, channel + i));
      return;
    }
    case Bug::tile_repeated:
    case Bug::rows_not_written:
      for (size_t t = 0; t < rows; ++t)
        for (size_t i = 0; i < quarter; ++i)
          at(t, quarter + i) = fault.is(Bug::tile_repeated) ? at(t, i) : 0.0f;
      return;
    case Bug::bit_flipped:
      at(rows / 2, width / 3) = with_bit(at(rows / 2, width / 3), uint32_t(value), true);
      return;
    case Bug::bit_stuck:
      for (size_t t = 0; t < rows; ++t)
        for (size_t i = width / 2; i < width; ++i)
          at(t, i) = with_bit(at(t, i), uint32_t(value), false);
      return;
    case Bug::token_scale:
      for (size_t i = 0; i < width && value < rows; ++i) at(value, i) *= 1.25f;
      return;
    default:
      return;
  }
}

}  // namespace assay::fault
