// Norms, RoPE, activations, gates, sums, activation quantisation over sixteen lanes S. Included once
// for each instruction set.
#pragma once

#include <cstdint>
#include <utility>

#include "cpu/kernels.h"
#include "lang/activation.h"
#include "op/activation.h"

namespace assay::cpu {
namespace {

/// k_exp of lang/math.h, the same operations in the same order on sixteen lanes.
template <class S>
typename S::F32 exp_lanes(typename S::F32 x) {
  using F = typename S::F32;
  const F rounder = S::set(k_exp_round);
  const F n = S::sub(S::fma(x, S::set(k_exp_log2_e), rounder), rounder);
  F r = S::fma(n, S::set(-k_exp_ln2_high), x);
  r = S::fma(n, S::set(-k_exp_ln2_low), r);
  F p = S::set(k_exp_c6);
  p = S::fma(p, r, S::set(k_exp_c5));
  p = S::fma(p, r, S::set(k_exp_c4));
  p = S::fma(p, r, S::set(k_exp_c3));
  p = S::fma(p, r, S::set(k_exp_c2));
  p = S::fma(p, r, S::set(1.0f));
  p = S::fma(p, r, S::set(1.0f));
  const auto whole = S::truncate(n);
  const auto first = S::half(whole);
  F y = S::mul(S::mul(p, S::power_of_two(first)), S::power_of_two(S::sub(whole, first)));
  y = S::infinity_where_greater(y, x, k_exp_high);
  return S::zero_where_less(y, x, k_exp_low);
}

/// Applies `function(lanes…) → lanes` to n elements of one or two inputs; a tail goes through a
/// padded copy.
template <class S, class Function>
void map(const float* a, const float* b, uint64_t n, float* y, Function function) {
  uint64_t i = 0;
  for (; i + 16 <= n; i += 16) S::store(y + i, function(S::load(a + i), S::load(b + i)));
  if (i == n) return;
  float ta[16] = {}, tb[16] = {}, ty[16];
  for (uint64_t j = i; j < n; ++j) {
    ta[j - i] = a[j];
    tb[j - i] = b[j];
  }
  S::store(ty, function(S::load(ta), S::load(tb)));
  for (uint64_t j = i; j < n; ++j) y[j] = ty[j - i];
}

template <class S>
void add(const float* a, const float* b, uint64_t n, float* y) {
  map<S>(a, b, n, y, [](auto u, auto v) { return S::add(u, v); });
}

/// The lanes of S with the contract's functions: what lang/activation.h is written over.
template <class S>
struct Lanes : S {
  static typename S::F32 exp(typename S::F32 x) { return exp_lanes<S>(x); }
};

/// Calls function<activation>() with the number as a constant, so that no loop asks for it.
template <class Function>
void with_activation(uint32_t activation, Function function) {
  [&]<uint32_t... number>(std::integer_sequence<uint32_t, number...>) {
    ((number == activation ? function.template operator()<number>() : void()), ...);
  }
  (std::make_integer_sequence<uint32_t, uint32_t(op::activations.size())>());
}

/// y = f(x)
template <class S>
void activate(uint32_t activation, const float* x, uint64_t n, float* y) {
  with_activation(activation, [&]<uint32_t f>() {
    map<S>(x, x, n, y, [](auto u, auto) {
      return S::floor_tiny(assay::activate<Lanes<S>>(f, u), k_floor_limit);
    });
  });
}

/// y = f(gate)·up
template <class S>
void gate(uint32_t activation, const float* gates, const float* up, uint64_t n, float* y) {
  with_activation(activation, [&]<uint32_t f>() {
    map<S>(gates, up, n, y, [](auto g, auto u) {
      return S::floor_tiny(S::mul(assay::activate<Lanes<S>>(f, g), gate_factor<Lanes<S>>(f, u)),
                           k_floor_limit);
    });
  });
}

/// The same with one gate for all of `up`.
template <class S>
void gate_all(uint32_t activation, float gate, const float* up, uint64_t n, float* y) {
  with_activation(activation, [&]<uint32_t f>() {
    const auto open = assay::activate<Lanes<S>>(f, S::set(gate));
    map<S>(up, up, n, y, [&](auto u, auto) {
      return S::floor_tiny(S::mul(open, gate_factor<Lanes<S>>(f, u)), k_floor_limit);
    });
  });
}

template <class S>
void xielu(const float* x, const XieluNumbers& p, uint64_t n, float* y) {
  const auto alpha_p = S::set(p.alpha_p), alpha_n = S::set(p.alpha_n);
  const auto beta = S::set(p.beta), eps = S::set(p.eps);
  map<S>(x, x, n, y, [&](auto u, auto) {
    return S::floor_tiny(assay::xielu<Lanes<S>>(u, alpha_p, alpha_n, beta, eps), k_floor_limit);
  });
}

/// y = cap·tanh(x/cap)
template <class S>
void soft_cap(const float* x, float cap, uint64_t n, float* y) {
  const auto most = S::set(cap);
  map<S>(x, x, n, y, [&](auto u, auto) {
    return S::floor_tiny(assay::soft_cap<Lanes<S>>(u, most), k_floor_limit);
  });
}

/// NaN passes.
template <class S>
void clamp(const float* x, float low, float high, uint64_t n, float* y) {
  const auto least = S::set(low), most = S::set(high);
  map<S>(x, x, n, y, [&](auto u, auto) {
    return S::where_less(u, least, least, S::where_less(most, u, most, u));
  });
}

/// y = x·factor
template <class S>
void multiply_floored(const float* x, float factor, uint64_t n, float* y) {
  const auto by = S::set(factor);
  map<S>(x, x, n, y, [&](auto u, auto) { return S::floor_tiny(S::mul(u, by), k_floor_limit); });
}

/// y = Σ_u x[u]·weight[u] in order, the first product rounded, the others added by fma; without
/// weights Σ_u x[u].
template <class S>
void mix(const float* x, const float* weights, uint32_t count, uint64_t n, float* y) {
  const auto first = S::set(weights ? weights[0] : 1.0f);
  map<S>(x, x, n, y, [&](auto v, auto) { return S::mul(v, first); });
  for (uint32_t u = 1; u < count; ++u) {
    const auto weight = S::set(weights ? weights[u] : 1.0f);
    map<S>(x + u * n, y, n, y, [&](auto v, auto sum) { return S::fma(v, weight, sum); });
  }
  map<S>(y, y, n, y, [](auto v, auto) { return S::floor_tiny(v, k_floor_limit); });
}

/// Σ over 32 strided lanes (two registers), then the xor tree 16, 8, 4, 2, 1. step(x, sum) adds 16
/// elements to their lanes; missing elements are +0.
template <class S, class Step>
float lane_sum(const float* x, uint64_t n, Step step) {
  auto low = S::zero(), high = S::zero();
  uint64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    low = step(S::load(x + i), low);
    high = step(S::load(x + i + 16), high);
  }
  if (i < n) {
    float tail[32] = {};
    for (uint64_t j = i; j < n; ++j) tail[j - i] = x[j];
    low = step(S::load(tail), low);
    high = step(S::load(tail + 16), high);
  }
  return S::tree_sum(S::add(low, high));
}

template <class S>
float sum(const float* x, uint64_t n) {
  return lane_sum<S>(x, n, [](auto u, auto lanes) { return S::add(lanes, u); });
}

template <class S>
float sum_of_squares(const float* x, uint64_t n) {
  return lane_sum<S>(x, n, [](auto u, auto lanes) { return S::fma(u, u, lanes); });
}

/// y = (x·r)·w, r = 1/√(Σx²/n + eps), NaN where Σx² is beyond f32
template <class S>
void rms_norm(const float* x, const float* weight, uint64_t n, float eps, float* y) {
  const auto scale = S::set(k_inverse_rms(sum_of_squares<S>(x, n), float(n), eps));
  map<S>(x, weight, n, y,
         [&](auto u, auto w) { return S::floor_tiny(S::mul(S::mul(u, scale), w), k_floor_limit); });
}

/// y = (d·r)·w + b, d = x − Σx/n, r = 1/√(Σd²/n + eps); bias may be null
template <class S>
void layer_norm(const float* x, const float* weight, const float* bias, uint64_t n, float eps,
                float* y) {
  const auto mean = S::set(k_div(sum<S>(x, n), float(n)));
  map<S>(x, x, n, y, [&](auto u, auto) { return S::sub(u, mean); });
  const auto scale = S::set(k_inverse_rms(sum_of_squares<S>(y, n), float(n), eps));
  map<S>(y, weight, n, y, [&](auto d, auto w) { return S::mul(S::mul(d, scale), w); });
  if (bias) map<S>(y, bias, n, y, [](auto v, auto b) { return S::add(v, b); });
  map<S>(y, y, n, y, [](auto v, auto) { return S::floor_tiny(v, k_floor_limit); });
}

/// y = e^(x − max) / Σ e^(x − max)
template <class S>
void softmax(const float* x, uint64_t n, float* y) {
  float largest = x[0];
  for (uint64_t i = 1; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  const auto shift = S::set(largest);
  map<S>(x, x, n, y, [&](auto u, auto) { return exp_lanes<S>(S::sub(u, shift)); });
  const auto total = S::set(sum<S>(y, n));
  map<S>(y, y, n, y, [&](auto e, auto) { return S::div(e, total); });
}

template <class S>
void sigmoid(const float* x, uint64_t n, float* y) {
  map<S>(x, x, n, y, [](auto u, auto) { return assay::sigmoid<Lanes<S>>(u); });
}

/// y0 = x0·cos − x1·sin, y1 = x0·sin + x1·cos, each fma over a rounded product. Sources of a few
/// dozen operations a head: plain code.
template <class S>
void rope(const float* x, const float* table, uint32_t head_dim, uint32_t dimensions, bool adjacent,
          float* y) {
  for (uint32_t i = 0; i < dimensions / 2; ++i) {
    const uint32_t first = adjacent ? 2 * i : i, second = adjacent ? 2 * i + 1 : i + dimensions / 2;
    const float c = table[2 * i], s = table[2 * i + 1], x0 = x[first], x1 = x[second];
    y[first] = k_floor_tiny(k_fma(x0, c, -k_floor_tiny(x1 * s)));
    y[second] = k_floor_tiny(k_fma(x1, c, k_floor_tiny(x0 * s)));
  }
  for (uint32_t i = dimensions; i < head_dim; ++i) y[i] = k_floor_tiny(x[i]);
}

/// Rule 1: d = max|x|/127, code = rne(x·(127/max|x|)); zeros below 2^-72; d = NaN where a value is
/// not finite.
template <class S>
void quantise(const float* x, uint64_t columns, const QuantisedRow& out) {
  for (uint64_t q = 0; q < columns / quantum; ++q) {
    const auto low = S::load(x + quantum * q), high = S::load(x + quantum * q + 16);
    const uint32_t bits = S::max_magnitude_bits(low, high);
    int8_t* codes = out.codes + quantum * q;
    const float largest = k_float(bits);
    if (bits >= 0x7f800000u || largest < k_floor_limit) {
      for (uint32_t i = 0; i < quantum; ++i) codes[i] = 0;
      const float d = bits >= 0x7f800000u ? k_float(0x7fc00000u) : 0.0f;
      out.scale[q] = out.scaled_sum[q] = d;
      out.half_sums[2 * q] = out.half_sums[2 * q + 1] = 0;
      continue;
    }
    const float inverse = k_div(127.0f, largest);
    const int32_t a = S::quantise(low, inverse, codes);
    const int32_t b = S::quantise(high, inverse, codes + 16);
    out.scale[q] = k_div(largest, 127.0f);
    out.scaled_sum[q] = out.scale[q] * float(a + b);
    out.half_sums[2 * q] = a;
    out.half_sums[2 * q + 1] = b;
  }
}

template <class S>
void to_f16(const float* x, uint64_t n, uint16_t* y) {
  uint64_t i = 0;
  for (; i + 16 <= n; i += 16) S::store_f16(y + i, S::load(x + i));
  for (; i < n; ++i) y[i] = k_f32_to_f16(x[i]);
}

template <class S>
constexpr RowKernels row_kernels() {
  return {.quantise = quantise<S>,
          .rms_norm = rms_norm<S>,
          .layer_norm = layer_norm<S>,
          .rope = rope<S>,
          .activate = activate<S>,
          .gate = gate<S>,
          .gate_all = gate_all<S>,
          .xielu = xielu<S>,
          .soft_cap = soft_cap<S>,
          .clamp = clamp<S>,
          .multiply_floored = multiply_floored<S>,
          .mix = mix<S>,
          .softmax = softmax<S>,
          .sigmoid = sigmoid<S>,
          .add = add<S>,
          .to_f16 = to_f16<S>};
}

}  // namespace
}  // namespace assay::cpu
