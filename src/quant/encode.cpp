#include "quant/encode.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/encode_k.h"
#include "quant/formats.h"

namespace assay::quant {
namespace {

// Source of the rounding of each block format: ggml's reference quantisers, and PyPI's gguf.

void put_u16(uint8_t* at, uint32_t bits) {
  at[0] = uint8_t(bits), at[1] = uint8_t(bits >> 8);
}

/// False where it is beyond f16.
bool put_f16(uint8_t* at, float value) {
  const uint16_t bits = k_f32_to_f16(value);
  put_u16(at, bits);
  return (bits & 0x7c00u) != 0x7c00u;
}

/// 0 for a d so small that the block is zero.
float inverse(float d) {
  const float id = 1.0f / d;
  return std::isfinite(id) ? id : 0.0f;
}

/// The weight of the largest magnitude, with its sign: the first of several.
float extreme(const float* x, uint32_t count) {
  float most = 0.0f;
  for (uint32_t i = 0; i < count; ++i)
    if (std::fabs(x[i]) > std::fabs(most)) most = x[i];
  return most;
}

/// Weight i in the low nibble of byte i, weight i + 16 in the high one.
void put_nibbles(uint8_t* at, const uint8_t* codes) {
  for (uint32_t i = 0; i < 16; ++i) at[i] = uint8_t((codes[i] & 15) | (codes[i + 16] & 15) << 4);
}

/// The fifth bits, weight i's in bit i.
void put_fifth_bits(uint8_t* at, const uint8_t* codes) {
  for (uint32_t i = 0; i < 4; ++i) at[i] = 0;
  for (uint32_t i = 0; i < 32; ++i) at[i / 8] |= uint8_t((codes[i] >> 4) << (i % 8));
}

/// Codes of a symmetric format: the extreme weight is code 0 exactly, `middle` is weight 0.
float symmetric_codes(const float* x, int middle, uint8_t* codes) {
  const float d = extreme(x, 32) / float(-middle), id = inverse(d);
  for (uint32_t i = 0; i < 32; ++i)
    codes[i] = uint8_t(std::min(2 * middle - 1, int(x[i] * id + (float(middle) + 0.5f))));
  return d;
}

/// Codes from 0, the least weight, to `most`, the greatest: w = d·code + minimum.
struct Range {
  float d, minimum;
};
Range codes_of_range(const float* x, int most, uint8_t* codes) {
  const auto [least, greatest] = std::minmax_element(x, x + 32);
  const float minimum = *least, d = (*greatest - minimum) / float(most), id = inverse(d);
  for (uint32_t i = 0; i < 32; ++i)
    codes[i] = uint8_t(std::min(most, int((x[i] - minimum) * id + 0.5f)));
  return {d, minimum};
}

bool encode(F32, const float* x, uint8_t* out) {
  std::memcpy(out, x, sizeof(float));
  return true;
}

bool encode(F16, const float* x, uint8_t* out) {
  return put_f16(out, *x);
}

bool encode(BF16, const float* x, uint8_t* out) {
  const uint32_t bits = k_bits(*x), rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  put_u16(out, rounded);
  return (rounded & 0x7f80u) != 0x7f80u;
}

bool encode(Q8_0, const float* x, uint8_t* out) {
  const float d = std::fabs(extreme(x, 32)) / 127.0f, id = inverse(d);
  for (uint32_t i = 0; i < 32; ++i) out[2 + i] = uint8_t(int8_t(std::round(x[i] * id)));
  return put_f16(out, d);
}

bool encode(Q4_0, const float* x, uint8_t* out) {
  uint8_t codes[32];
  const float d = symmetric_codes(x, 8, codes);
  put_nibbles(out + 2, codes);
  return put_f16(out, d);
}

bool encode(Q5_0, const float* x, uint8_t* out) {
  uint8_t codes[32];
  const float d = symmetric_codes(x, 16, codes);
  put_fifth_bits(out + 2, codes);
  put_nibbles(out + 6, codes);
  return put_f16(out, d);
}

bool encode(Q4_1, const float* x, uint8_t* out) {
  uint8_t codes[32];
  const Range range = codes_of_range(x, 15, codes);
  put_nibbles(out + 4, codes);
  return put_f16(out, range.d) & put_f16(out + 2, range.minimum);
}

bool encode(Q5_1, const float* x, uint8_t* out) {
  uint8_t codes[32];
  const Range range = codes_of_range(x, 31, codes);
  put_fifth_bits(out + 4, codes);
  put_nibbles(out + 8, codes);
  return put_f16(out, range.d) & put_f16(out + 2, range.minimum);
}

/// IQ4_NL's sixteen values, ascending.
float iq4_nl_value(uint32_t q) {
  const uint64_t half = q < 8 ? iq4_low : iq4_high;
  return float(int8_t(half >> (8 * (q % 8))));
}

/// The nearest of the values; of two equally near the upper one.
uint8_t nearest_iq4_nl(float x) {
  uint32_t upper = 0;
  while (upper < 16 && iq4_nl_value(upper) <= x) ++upper;
  if (upper == 0) return 0;
  if (upper == 16) return 15;
  return uint8_t(x - iq4_nl_value(upper - 1) < iq4_nl_value(upper) - x ? upper - 1 : upper);
}

/// Of fifteen scales near (extreme weight) / -127, each moved to where the error, weighed by w²,
/// is least for its codes, the best.
bool encode(IQ4_NL, const float* x, uint8_t* out) {
  uint8_t codes[32];
  const float most = extreme(x, 32);
  float best_d = 0.0f, best = 0.0f;
  const auto attempt = [&](float id, bool first) {
    float products = 0.0f, squares = 0.0f;  // Σ w²·q·w and Σ w²·q·q
    for (uint32_t i = 0; i < 32; ++i) {
      const float q = iq4_nl_value(nearest_iq4_nl(id * x[i])), weight = x[i] * x[i];
      products += weight * q * x[i];
      squares += weight * q * q;
    }
    if (!(squares > 0.0f) || (!first && !(products * products > best * squares))) return;
    best_d = products / squares;
    best = best_d * products;
  };
  constexpr float smallest = 1e-15f;  // a block of less is zero
  if (std::fabs(most) >= smallest) {
    attempt(1.0f / (-most / iq4_nl_value(0)), true);
    for (int step = -7; step <= 7; ++step) attempt((float(step) + iq4_nl_value(0)) / most, false);
  }
  for (uint32_t i = 0; i < 32; ++i) codes[i] = nearest_iq4_nl(inverse(best_d) * x[i]);
  put_nibbles(out + 2, codes);
  return put_f16(out, best_d);
}

/// Where there is no encoder.
template <class F>
bool encode(F, const float*, uint8_t*) = delete;

template <class F>
constexpr bool has_encoder = requires(const float* x, uint8_t* out) {
  encode(F{}, x, out);
};

}  // namespace

bool can_encode(uint32_t id) {
  bool can = false;
  visit(id, [&]<class F>() { can = has_encoder<F>; });
  return can;
}

bool encode_row(uint32_t id, std::span<const float> row, std::span<uint8_t> out) {
  bool held = true;
  visit(id, [&]<class F>() {
    if constexpr (has_encoder<F>)
      for (uint64_t i = 0; i < row.size() / F::block_size; ++i)
        held &= encode(F{}, row.data() + i * F::block_size, out.data() + i * F::block_bytes);
  });
  return held;
}

std::string encodable_names() {
  std::string names;
  [&]<class... F>(List<F...>) {
    const auto add = [&](bool can, std::string_view name) {
      if (can) names += (names.empty() ? "" : ", ") + std::string(name);
    };
    (add(has_encoder<F>, name_of<F>), ...);
  }(All{});
  return names;
}

}  // namespace assay::quant
