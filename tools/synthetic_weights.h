// Random weights in every format, for assay-synthetic.
//
// They have mean 0 and a given RMS. A tensor's weights depend on its name and the seed alone.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "base/mix64.h"
#include "quant/fields.h"

namespace assay::synthetic {

struct Random {
  uint64_t state;
  uint64_t next() { return assay::splitmix64(state); }
  double uniform() { return double(next() >> 11) * 0x1p-53; }
  void fill(uint8_t* bytes, uint32_t count) {
    for (uint32_t i = 0; i < count; i += 8) {
      const uint64_t word = next();
      std::memcpy(bytes + i, &word, std::min(8u, count - i));
    }
  }
};

/// One stream a tensor, so that a tensor's weights depend on its name and the seed alone (FNV-1a).
inline Random stream(uint64_t seed, const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ uint8_t(c)) * 0x100000001b3u;
  Random mixed{hash ^ seed * 0x9e3779b97f4a7c15u};
  return {mixed.next()};
}

inline void put_f16(uint8_t* at, float value) {
  const uint16_t half = k_f32_to_f16(value);
  at[0] = uint8_t(half), at[1] = uint8_t(half >> 8);
}

/// A scale near `wanted`, ±25 %, of at most 7 bits and no finer than 2^-23: then 7.5 times it is a
/// half too.
inline float short_scale(Random& random, double wanted) {
  const double near = wanted * (0.75 + 0.5 * random.uniform());
  const int exponent = std::max(-23, std::ilogb(near) - 6);
  return float(std::ldexp(std::max(1.0, std::nearbyint(std::ldexp(near, -exponent))), exponent));
}

// block(F, random, rms, at) writes one block of weights of this RMS and mean 0. Codes are uniform,
// so their RMS about the middle of n values is √((n²−1)/12).

inline void block(quant::F32, Random& random, double rms, uint8_t* at) {
  const float value = float((2 * random.uniform() - 1) * std::sqrt(3.0) * rms);
  std::memcpy(at, &value, 4);
}

inline void block(quant::F16, Random& random, double rms, uint8_t* at) {
  put_f16(at, float((2 * random.uniform() - 1) * std::sqrt(3.0) * rms));
}

inline void block(quant::BF16, Random& random, double rms, uint8_t* at) {
  const uint32_t bits = k_bits(float((2 * random.uniform() - 1) * std::sqrt(3.0) * rms));
  at[0] = uint8_t(bits >> 16), at[1] = uint8_t(bits >> 24);
}

inline void block(quant::Q8_0, Random& random, double rms, uint8_t* at) {
  put_f16(at, short_scale(random, rms / 73.9));  // 256 codes; their mean is −0.5, of RMS 73.9
  random.fill(at + 2, 32);
}

inline void block(quant::Q4_1, Random& random, double rms, uint8_t* at) {
  const float d = short_scale(random, rms / 4.61);  // 16 codes
  put_f16(at, d);
  put_f16(at + 2, -7.5f * d);
  random.fill(at + 4, 16);
}

/// sc_g = m_g uniform in 32 … 63 (RMS 48.4), dmin = 7.5·d: w = d·sc_g·(q − 7.5).
inline void block(quant::Q4_K, Random& random, double rms, uint8_t* at) {
  const float d = short_scale(random, rms / (4.61 * 48.4));
  put_f16(at, d);
  put_f16(at + 2, 7.5f * d);
  uint64_t bits = random.next();
  uint8_t scale[8];
  for (uint8_t& s : scale) s = uint8_t(32 + (bits & 31)), bits >>= 5;
  for (uint32_t g = 0; g < 4; ++g) {
    const uint8_t first = scale[g], second = scale[g + 4];
    at[4 + g] = at[8 + g] = uint8_t(first | (second >> 4) << 6);
    at[12 + g] = uint8_t((second & 15) | (second & 15) << 4);
  }
  random.fill(at + 16, 128);
}

/// sc_g uniform in ±(32 … 127) (RMS 84.2); 64 codes, of RMS 18.5 about 32; their mean −0.5 cancels
/// by the signs of sc_g.
inline void block(quant::Q6_K, Random& random, double rms, uint8_t* at) {
  random.fill(at, 192);
  for (uint32_t g = 0; g < 16; ++g) {
    const uint64_t bits = random.next();
    const int magnitude = 32 + int((bits >> 32) * 96 >> 32);
    at[192 + g] = uint8_t(int8_t(bits & 1 ? magnitude : -magnitude));
  }
  put_f16(at + 208, short_scale(random, rms / (18.5 * 84.2)));
}

/// Any other block format: all bytes uniform, its f16 fields at `scale_at` and `minimum_at`.
/// `spread` is the RMS that blocks of scale 1 then have, with `middle`·scale as the minimum;
/// without a minimum the sign of the scale is random, as the codes' mean is half a step from 0.
struct Layout {
  uint32_t scale_at, minimum_at;
  double spread, middle;
};

inline void block(const Layout& layout, uint32_t bytes, Random& random, double rms, uint8_t* at) {
  random.fill(at, bytes);
  const float d = short_scale(random, rms / layout.spread);
  const bool negative = layout.middle == 0 && (random.next() & 1);
  put_f16(at + layout.scale_at, negative ? -d : d);
  if (layout.middle != 0) put_f16(at + layout.minimum_at, float(layout.middle) * d);
}

// Codes as above; scale and minimum codes are uniform over all they can be.
constexpr Layout layout_of(quant::Q4_0) {
  return {0, 0, 4.64, 0};  // 16 codes about 8
}
constexpr Layout layout_of(quant::Q5_0) {
  return {0, 0, 9.25, 0};  // 32 codes about 16
}
constexpr Layout layout_of(quant::Q5_1) {
  return {0, 2, 9.23, -15.5};
}
constexpr Layout layout_of(quant::IQ4_NL) {
  return {0, 0, 67.4, 0};  // the RMS of its sixteen values
}
constexpr Layout layout_of(quant::Q2_K) {
  return {80, 82, 13.9, 1.5};  // sc, m in 0 … 15: √(77.5·(3.5 + 1.5²) − 2·11.25²)
}
constexpr Layout layout_of(quant::Q3_K) {
  return {108, 0, 43.3, 0};  // sc of −32 … 31 has 18.5, codes about 4 have 2.35
}
constexpr Layout layout_of(quant::Q5_K) {
  return {0, 2, 527, 15.5};  // sc, m in 0 … 63: √(1333.5·(325.5 + 15.5²) − 2·488.25²)
}

/// The RMS of random blocks whose scales are 1: of formats without a minimum, whose codes have a
/// mean of about 0.
template <class F>
double measured_spread() {
  static_assert(!F::has_minimum, "a format with a minimum needs a layout");
  static const double spread = [] {
    Random random{1};
    std::vector<uint8_t> block(F::block_bytes);
    double sum = 0;
    const int blocks = 1024;
    for (int b = 0; b < blocks; ++b) {
      random.fill(block.data(), F::block_bytes);
      for (uint32_t g = 0; g < quant::own_scales<F>; ++g)
        quant::put_scale<F>(block.data(), g, 1.0f);
      for (uint32_t i = 0; i < F::block_size; ++i) {
        const double w = quant::decode<F>(block.data(), i);
        sum += w * w;
      }
    }
    return std::sqrt(sum / (blocks * double(F::block_size)));
  }();
  return spread;
}

/// Any format: by its layout where it has one here, else random bytes with scales of a random sign.
/// Where scales are not f16, they are the nearest that there are.
template <class F>
inline void block(F format, Random& random, double rms, uint8_t* at) {
  if constexpr (requires { layout_of(format); }) {
    block(layout_of(format), F::block_bytes, random, rms, at);
  } else {
    random.fill(at, F::block_bytes);
    for (uint32_t g = 0; g < quant::own_scales<F>; ++g) {
      const float d = short_scale(random, rms / measured_spread<F>());
      quant::put_scale<F>(at, g, random.next() & 1 ? -d : d);
    }
  }
}

/// `count` weights of one stream: a matrix.
inline void fill(uint32_t type, Random random, double rms, uint8_t* bytes, uint64_t count) {
  quant::visit(type, [&]<class F>() {
    for (uint64_t i = 0; i < count; i += F::block_size, bytes += F::block_bytes)
      block(F{}, random, rms, bytes);
  });
}

/// A tensor of `parts` matrices of `count` weights each, one after another. Each has a stream of its
/// own where there are several, so that all cores can write them.
inline std::vector<uint8_t> weights(uint32_t type, uint64_t seed, const std::string& name,
                                    uint64_t count, uint64_t parts, double rms) {
  const quant::Info info = quant::info(type);
  const uint64_t size = count / info.block_size * info.block_bytes;
  std::vector<uint8_t> bytes(parts * size);
  std::atomic<uint64_t> next = 0;
  const auto work = [&] {
    for (uint64_t part; (part = next++) < parts;)
      fill(type, stream(seed, parts == 1 ? name : name + "." + std::to_string(part)), rms,
           bytes.data() + part * size, count);
  };
  std::vector<std::jthread> threads;
  for (uint64_t i = 1; i < std::min<uint64_t>(parts, std::thread::hardware_concurrency()); ++i)
    threads.emplace_back(work);
  work();
  threads.clear();
  return bytes;
}

/// Uniform in middle ± spread, as F32.
inline std::vector<uint8_t> uniform(Random random, uint64_t count, double middle, double spread) {
  std::vector<float> values(count);
  for (float& value : values) value = float(middle + spread * (2 * random.uniform() - 1));
  std::vector<uint8_t> bytes(4 * count);
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

}  // namespace assay::synthetic
