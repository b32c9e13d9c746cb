// The activations in f32, in the contract's order of operations. Each is written once, over lanes L:
// one value of a GPU's thread (OneLane), or the sixteen of a CPU's register
// (cpu/kernels_elementwise.h).
#pragma once

#include "lang/math.h"

namespace assay {

/// The numbers of op::Activation, which kernels are given.
K_TABLE uint32_t activation_silu = 0;
K_TABLE uint32_t activation_gelu_tanh = 1;
K_TABLE uint32_t activation_gelu_erf = 2;
K_TABLE uint32_t activation_gelu_quick = 3;
K_TABLE uint32_t activation_relu = 4;
K_TABLE uint32_t activation_relu_squared = 5;
K_TABLE uint32_t activation_sigmoid = 6;
K_TABLE uint32_t activation_softplus = 7;
K_TABLE uint32_t activation_silu_clamped = 8;

/// One value as lanes.
struct OneLane {
  typedef float F32;
  K_FN float set(float x) { return x; }
  K_FN float negate(float x) { return -x; }
  K_FN float add(float a, float b) { return a + b; }
  K_FN float mul(float a, float b) { return a * b; }
  K_FN float div(float a, float b) { return k_div(a, b); }
  K_FN float fma(float a, float b, float c) { return k_fma(a, b, c); }
  K_FN float exp(float x) { return k_exp(x); }
  /// `yes` where a < b, else `no`, also where either is NaN.
  K_FN float where_less(float a, float b, float yes, float no) { return a < b ? yes : no; }
};

/// x·sigmoid(x) = x / (1 + e^-x). Relative error under 2^-22.2 for x >= -88.72; below that −0 (e^-x
/// overflows; the true value is under 2.7e-37). −infinity gives NaN: an infinite activation is
/// never hidden.
template <class L>
K_FN typename L::F32 silu(typename L::F32 x) {
  return L::div(x, L::add(L::set(1.0f), L::exp(L::negate(x))));
}

K_TABLE float k_least_normal = 1.17549435e-38f;  // 0x1p-126

/// 1 / (1 + e^-x), of relative error under 2^-22.2 for x >= -87.33; below that +0: a router divides
/// it by a sum, so it must not be a denormal.
template <class L>
K_FN typename L::F32 sigmoid(typename L::F32 x) {
  const typename L::F32 y = L::div(L::set(1.0f), L::add(L::set(1.0f), L::exp(L::negate(x))));
  return L::where_less(y, L::set(k_least_normal), L::set(0.0f), y);
}

K_TABLE float k_quick_slope = 1.702f;

/// x·sigmoid(1.702·x)
template <class L>
K_FN typename L::F32 gelu_quick(typename L::F32 x) {
  const typename L::F32 z = L::mul(x, L::set(k_quick_slope));
  return L::div(x, L::add(L::set(1.0f), L::exp(L::negate(z))));
}

K_TABLE float k_gelu_cubic = 0.044715f;
K_TABLE float k_gelu_slope = 1.59576912f;  // 2·√(2/π)

/// x·(1 + tanh(z))/2 = x / (1 + e^-2z), z = √(2/π)·(x + 0.044715·x³)
template <class L>
K_FN typename L::F32 gelu_tanh(typename L::F32 x) {
  const typename L::F32 cubic = L::fma(L::mul(x, x), L::set(k_gelu_cubic), L::set(1.0f));
  const typename L::F32 z = L::mul(L::mul(x, L::set(k_gelu_slope)), cubic);
  return L::div(x, L::add(L::set(1.0f), L::exp(L::negate(z))));
}

// Φ(−a) = e^(−a²/2)·t·P(t), t = 1/(1 + 0.3·a), a >= 0: P of degree 7 by least maximum relative error
// over a <= 10.2 (2^-24.2), rounded to f32; evaluated in f32 the factor t·P(t) is off by 2^-21.5.
K_TABLE float k_tail_slope = 0.3f;
K_TABLE float k_tail_0 = 0.1196050420f;
K_TABLE float k_tail_1 = 0.1211112002f;
K_TABLE float k_tail_2 = 0.0977561176f;
K_TABLE float k_tail_3 = 0.1354961991f;
K_TABLE float k_tail_4 = -0.0665239766f;
K_TABLE float k_tail_5 = 0.2200846970f;
K_TABLE float k_tail_6 = -0.1650772244f;
K_TABLE float k_tail_7 = 0.0375479683f;

/// x·Φ(x) = x·(1 + erf(x/√2))/2
template <class L>
K_FN typename L::F32 gelu_erf(typename L::F32 x) {
  const typename L::F32 zero = L::set(0.0f), one = L::set(1.0f);
  const typename L::F32 a = L::where_less(x, zero, L::negate(x), x);
  const typename L::F32 t = L::div(one, L::fma(a, L::set(k_tail_slope), one));
  typename L::F32 p = L::set(k_tail_7);
  p = L::fma(p, t, L::set(k_tail_6));
  p = L::fma(p, t, L::set(k_tail_5));
  p = L::fma(p, t, L::set(k_tail_4));
  p = L::fma(p, t, L::set(k_tail_3));
  p = L::fma(p, t, L::set(k_tail_2));
  p = L::fma(p, t, L::set(k_tail_1));
  p = L::fma(p, t, L::set(k_tail_0));
  const typename L::F32 e = L::exp(L::mul(L::mul(a, a), L::set(-0.5f)));
  const typename L::F32 tail = L::mul(L::mul(p, t), e);
  return L::mul(x, L::where_less(x, zero, tail, L::add(one, L::negate(tail))));
}

template <class L>
K_FN typename L::F32 relu(typename L::F32 x) {
  return L::where_less(x, L::set(0.0f), L::set(0.0f), x);
}

/// ln(1 + e^x) = max(x, 0) + 2·artanh(s), s = t/(2 + t), t = e^−|x|; artanh by its series to s^15:
/// s <= 1/3, so the rest is under 2^-31.
template <class L>
K_FN typename L::F32 softplus(typename L::F32 x) {
  const typename L::F32 zero = L::set(0.0f);
  const typename L::F32 t = L::exp(L::where_less(x, zero, x, L::negate(x)));
  const typename L::F32 s = L::div(t, L::add(L::set(2.0f), t)), square = L::mul(s, s);
  typename L::F32 p = L::set(0.133333333f);  // 2/15
  p = L::fma(p, square, L::set(0.153846154f));
  p = L::fma(p, square, L::set(0.181818182f));
  p = L::fma(p, square, L::set(0.222222222f));
  p = L::fma(p, square, L::set(0.285714286f));
  p = L::fma(p, square, L::set(0.4f));
  p = L::fma(p, square, L::set(0.666666667f));
  p = L::fma(p, square, L::set(2.0f));
  return L::fma(p, s, relu<L>(x));
}

K_TABLE float k_clamp_limit = 7.0f;

/// min(x, 7)·sigmoid(1.702·min(x, 7))
template <class L>
K_FN typename L::F32 silu_clamped(typename L::F32 x) {
  const typename L::F32 limit = L::set(k_clamp_limit);
  return gelu_quick<L>(L::where_less(limit, x, limit, x));
}

/// The activation with this number; NaN if there is none.
template <class L>
K_FN typename L::F32 activate(uint32_t activation, typename L::F32 x) {
  if (activation == activation_silu) return silu<L>(x);
  if (activation == activation_gelu_tanh) return gelu_tanh<L>(x);
  if (activation == activation_gelu_erf) return gelu_erf<L>(x);
  if (activation == activation_gelu_quick) return gelu_quick<L>(x);
  if (activation == activation_relu) return relu<L>(x);
  if (activation == activation_relu_squared) return L::mul(relu<L>(x), relu<L>(x));
  if (activation == activation_sigmoid) return sigmoid<L>(x);
  if (activation == activation_softplus) return softplus<L>(x);
  if (activation == activation_silu_clamped) return silu_clamped<L>(x);
  return L::set(k_float(0x7fc00000u));
}

/// What the activation of a gate is multiplied with: min(max(up, −7), 7) + 1 for silu_clamped, else
/// `up` itself.
template <class L>
K_FN typename L::F32 gate_factor(uint32_t activation, typename L::F32 up) {
  if (activation != activation_silu_clamped) return up;
  const typename L::F32 high = L::set(k_clamp_limit), low = L::set(-k_clamp_limit);
  const typename L::F32 below = L::where_less(high, up, high, up);
  return L::add(L::where_less(below, low, low, below), L::set(1.0f));
}

/// cap·tanh(x/cap), tanh z = (1 − t)/(1 + t) of |z|, t = e^−2|z|: the error is up to 4 u of the cap.
template <class L>
K_FN typename L::F32 soft_cap(typename L::F32 x, typename L::F32 cap) {
  const typename L::F32 one = L::set(1.0f), zero = L::set(0.0f);
  const typename L::F32 z = L::div(x, cap);
  const typename L::F32 minus = L::where_less(z, zero, z, L::negate(z));
  const typename L::F32 t = L::exp(L::add(minus, minus));
  const typename L::F32 size = L::div(L::add(one, L::negate(t)), L::add(one, t));
  return L::mul(cap, L::where_less(z, zero, L::negate(size), size));
}

K_TABLE float k_exp_m1_series = -0.346573591f;  // −ln 2 / 2: above it e^x is its own polynomial

/// xIELU (op::Xielu). e^x − 1 − x is x²·q(x) near 0, with the coefficients of k_exp.
template <class L>
K_FN typename L::F32 xielu(typename L::F32 x, typename L::F32 alpha_p, typename L::F32 alpha_n,
                           typename L::F32 beta, typename L::F32 eps) {
  const typename L::F32 m = L::where_less(x, eps, x, eps);
  typename L::F32 q = L::set(k_exp_c6);
  q = L::fma(q, m, L::set(k_exp_c5));
  q = L::fma(q, m, L::set(k_exp_c4));
  q = L::fma(q, m, L::set(k_exp_c3));
  q = L::fma(q, m, L::set(k_exp_c2));
  const typename L::F32 near = L::mul(L::mul(m, m), q);
  const typename L::F32 far = L::add(L::add(L::exp(m), L::set(-1.0f)), L::negate(m));
  const typename L::F32 curve = L::where_less(m, L::set(k_exp_m1_series), far, near);
  const typename L::F32 rest = L::add(m, L::negate(x));  // 0 unless x lies above eps
  const typename L::F32 low = L::mul(alpha_n, L::add(curve, rest));
  const typename L::F32 high = L::mul(alpha_p, L::mul(x, x));
  return L::fma(beta, x, L::where_less(L::set(0.0f), x, high, low));
}

K_FN float k_silu(float x) {
  return silu<OneLane>(x);
}

/// f(gate)·up, floored as every output is.
K_FN float gated(uint32_t activation, float gate, float up) {
  return k_floor_tiny(activate<OneLane>(activation, gate) * gate_factor<OneLane>(activation, up));
}

}  // namespace assay
