#include "quant/encode_k.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace assay::quant {
namespace {

// The sums run in f32 from the first weight to the last: their order decides which of several fits
// wins, and ggml's is the measure.

/// The nearest integer; far beyond any code it need not be exact.
int nearest(float x) {
  return int(std::nearbyint(std::clamp(x, -1e6f, 1e6f)));
}

/// Stores an f16; what was stored, as f32.
float put_f16(uint8_t* at, float value) {
  const uint16_t bits = k_f32_to_f16(value);
  at[0] = uint8_t(bits), at[1] = uint8_t(bits >> 8);
  return k_f16_to_f32(bits);
}

/// Codes 0 … most of a group of 32: w ≈ scale·code − minimum, with minimum >= 0.
struct Group {
  float scale = 0.0f, minimum = 0.0f;
  uint8_t codes[32] = {};
};

/// Sums over a group with weights: Σ w, Σ w·x and those of its codes.
struct Sums {
  float w = 0, x = 0, l = 0, ll = 0, xl = 0;
};

/// How the search of a group goes: steps of (most + first + i·0.1) / range, i = 0 … last.
struct Search {
  int most;
  float first;
  int last;
};

float error_of(const float* x, const float* weights, const uint8_t* codes, float scale,
               float least) {
  float error = 0.0f;
  for (uint32_t i = 0; i < 32; ++i) {
    const float difference = scale * float(codes[i]) + least - x[i];
    error += weights[i] * (difference * difference);
  }
  return error;
}

/// Of several step sizes, each with scale and minimum by least squares for its codes, the one with
/// the least error. The weights say how much an error counts.
Group fit(const float* x, const float* weights, const Search& search) {
  Group group;
  const auto [low, high] = std::minmax_element(x, x + 32);
  float least = *low;
  const float greatest = *high;
  Sums sums;
  for (uint32_t i = 0; i < 32; ++i) {
    sums.w += weights[i];
    sums.x += weights[i] * x[i];
  }
  least = std::min(least, 0.0f);
  group.minimum = -least;
  if (greatest - least < 1e-36f) return group;  // below every scale; steps would overflow
  const auto code = [&](float step, uint32_t i) {
    return uint8_t(std::clamp(nearest(step * (x[i] - least)), 0, search.most));
  };
  const float first = float(search.most) / (greatest - least);
  for (uint32_t i = 0; i < 32; ++i) group.codes[i] = code(first, i);
  group.scale = 1.0f / first;
  float best = error_of(x, weights, group.codes, group.scale, least);
  for (int i = 0; i <= search.last; ++i) {
    // From the best minimum so far on, as ggml searches.
    const float step = (search.first + 0.1f * float(i) + float(search.most)) / (greatest - least);
    if (!std::isfinite(step)) break;
    Group next;
    sums.l = sums.ll = sums.xl = 0.0f;
    for (uint32_t j = 0; j < 32; ++j) {
      next.codes[j] = code(step, j);
      const float l = float(next.codes[j]);
      sums.l += weights[j] * l;
      sums.ll += weights[j] * l * l;
      sums.xl += weights[j] * l * x[j];
    }
    const float determinant = sums.w * sums.ll - sums.l * sums.l;
    if (!(determinant > 0.0f)) continue;
    next.scale = (sums.w * sums.xl - sums.x * sums.l) / determinant;
    float bottom = (sums.ll * sums.x - sums.l * sums.xl) / determinant;
    if (bottom > 0.0f) {  // a minimum cannot raise the weights
      bottom = 0.0f;
      next.scale = sums.xl / sums.ll;
    }
    const float error = error_of(x, weights, next.codes, next.scale, bottom);
    if (!(error < best)) continue;
    best = error;
    least = bottom;
    next.minimum = -bottom;
    group = next;
  }
  return group;
}

/// Eight groups of 32: d, dmin and twelve bytes of scales and minimums to `out`, codes to `codes`.
bool encode_groups(const float* x, const Search& search, uint8_t* out, uint8_t* codes) {
  Group groups[8];
  float most_scale = 0.0f, most_minimum = 0.0f;
  for (uint32_t g = 0; g < 8; ++g) {
    const float* part = x + 32 * g;
    float squares = 0.0f, weights[32];
    for (uint32_t i = 0; i < 32; ++i) squares += part[i] * part[i];
    const float typical = std::sqrt(squares / 32.0f);
    for (uint32_t i = 0; i < 32; ++i) weights[i] = typical + std::fabs(part[i]);
    groups[g] = fit(part, weights, search);
    most_scale = std::max(most_scale, groups[g].scale);
    most_minimum = std::max(most_minimum, groups[g].minimum);
  }
  const float d = put_f16(out, most_scale / 63.0f), dmin = put_f16(out + 2, most_minimum / 63.0f);
  if (!std::isfinite(d) || !std::isfinite(dmin)) return false;
  const float per_scale = most_scale > 0.0f ? 63.0f / most_scale : 0.0f;
  const float per_minimum = most_minimum > 0.0f ? 63.0f / most_minimum : 0.0f;
  uint8_t* packed = out + 4;
  std::memset(packed, 0, 12);
  for (uint32_t g = 0; g < 8; ++g) {
    const auto six_bits = [](float value) {
      return std::min<uint8_t>(63, uint8_t(nearest(value)));
    };
    const uint8_t scale = six_bits(per_scale * groups[g].scale);
    const uint8_t minimum = six_bits(per_minimum * groups[g].minimum);
    if (g < 4) {
      packed[g] |= scale;
      packed[4 + g] |= minimum;
    } else {
      packed[4 + g] = uint8_t((scale & 15) | (minimum & 15) << 4);
      packed[g - 4] |= uint8_t((scale >> 4) << 6);
      packed[g] |= uint8_t((minimum >> 4) << 6);
    }
    const float step = d * float(scale), bottom = dmin * float(minimum);
    for (uint32_t i = 0; i < 32; ++i) {
      const uint32_t at = 32 * g + i;
      codes[at] = step == 0.0f
                      ? groups[g].codes[i]
                      : uint8_t(std::clamp(nearest((x[at] + bottom) / step), 0, search.most));
    }
  }
  return true;
}

/// The low four bits: 32 bytes serve groups 2c and 2c + 1.
void put_nibbles(uint8_t* at, const uint8_t* codes) {
  for (uint32_t c = 0; c < 4; ++c)
    for (uint32_t i = 0; i < 32; ++i)
      at[32 * c + i] = uint8_t((codes[64 * c + i] & 15) | (codes[64 * c + 32 + i] & 15) << 4);
}

/// Sixteen weights as scale·(code − 32): of nineteen scales near (extreme weight) / -32, the one
/// whose error, weighed by w², is least.
float fit_symmetric(const float* x, uint8_t* codes) {
  float most = 0.0f;
  for (uint32_t i = 0; i < 16; ++i)
    if (std::fabs(x[i]) > std::fabs(most)) most = x[i];
  std::memset(codes, 0, 16);
  if (std::fabs(most) < 1e-15f) return 0.0f;
  float scale = 0.0f, best = 0.0f;
  const auto attempt = [&](float step, bool first) {
    uint8_t next[16];
    float products = 0.0f, squares = 0.0f;  // Σ w²·l·w and Σ w²·l·l
    for (uint32_t i = 0; i < 16; ++i) {
      const int l = std::clamp(nearest(step * x[i]), -32, 31);
      next[i] = uint8_t(l + 32);
      const float weight = x[i] * x[i];
      products += weight * x[i] * float(l);
      squares += weight * float(l) * float(l);
    }
    if (!first && !(squares > 0.0f && products * products > best * squares)) return;
    std::memcpy(codes, next, 16);
    scale = squares == 0.0f ? 0.0f : products / squares;
    best = scale * products;
  };
  attempt(-32.0f / most, true);
  for (int i = -9; i <= 9; ++i)
    if (i != 0) attempt(-(32.0f + 0.1f * float(i)) / most, false);
  return scale;
}

}  // namespace

bool encode(Q4_K, const float* x, uint8_t* out) {
  uint8_t codes[256];
  const bool held = encode_groups(x, {15, -1.0f, 20}, out, codes);
  put_nibbles(out + 16, codes);
  return held;
}

bool encode(Q5_K, const float* x, uint8_t* out) {
  uint8_t codes[256];
  const bool held = encode_groups(x, {31, -0.5f, 15}, out, codes);
  std::memset(out + 16, 0, 32);
  for (uint32_t i = 0; i < 256; ++i) out[16 + i % 32] |= uint8_t((codes[i] >> 4) << (i / 32));
  put_nibbles(out + 48, codes);
  return held;
}

bool encode(Q6_K, const float* x, uint8_t* out) {
  uint8_t codes[256];
  float scales[16], most = 0.0f;
  for (uint32_t g = 0; g < 16; ++g) {
    scales[g] = fit_symmetric(x + 16 * g, codes + 16 * g);
    if (std::fabs(scales[g]) > std::fabs(most)) most = scales[g];
  }
  std::memset(out, 0, 210);
  if (std::fabs(most) < 1e-15f) return true;
  const float per_scale = -128.0f / most;
  const float d = put_f16(out + 208, 1.0f / per_scale);
  if (!std::isfinite(d)) return false;
  for (uint32_t g = 0; g < 16; ++g) {
    const int scale = std::min(127, nearest(per_scale * scales[g]));
    out[192 + g] = uint8_t(int8_t(scale));
    const float step = d * float(scale);
    for (uint32_t i = 16 * g; i < 16 * g + 16 && step != 0.0f; ++i)
      codes[i] = uint8_t(std::clamp(nearest(x[i] / step), -32, 31) + 32);
  }
  for (uint32_t i = 0; i < 256; ++i) {
    const uint32_t half = i / 128, quarter = i % 128 / 32, lane = i % 32;
    out[64 * half + lane + 32 * (quarter % 2)] |= uint8_t((codes[i] & 15) << (4 * (quarter / 2)));
    out[128 + 32 * half + lane] |= uint8_t((codes[i] >> 4) << (2 * quarter));
  }
  return true;
}

}  // namespace assay::quant
