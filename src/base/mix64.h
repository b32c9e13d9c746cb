// SplitMix64: a counter through a mixing function. Source: Steele, Lea, Flood, OOPSLA 2014.
#pragma once

#include <cstdint>

namespace assay {

/// The mixing function: neighbours become unlike.
constexpr uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

/// The generator: advances the state.
constexpr uint64_t splitmix64(uint64_t& state) {
  return mix64(state += 0x9E3779B97F4A7C15u);
}

}  // namespace assay
