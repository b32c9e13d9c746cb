// The activations in f32, in the contract's order of operations. Each is written once, over lanes L:
// one value of a GPU's thread (OneLane), or the sixteen of a CPU's register
// (cpu/kernels_elementwise.h).
#pragma once

#include "lang/math.h"

namespace assay {

/// The numbers of op::Activation, which kernels are given.
K_TABLE uint32_t activation_silu = 0;

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
};

/// x·sigmoid(x) = x / (1 + e^-x). Relative error under 2^-22.2 for x >= -88.72; below that −0 (e^-x
/// overflows; the true value is under 2.7e-37). −infinity gives NaN: an infinite activation is
/// never hidden.
template <class L>
K_FN typename L::F32 silu(typename L::F32 x) {
  return L::div(x, L::add(L::set(1.0f), L::exp(L::negate(x))));
}

/// The activation of this number; NaN for a number that is none.
template <class L>
K_FN typename L::F32 activate(uint32_t activation, typename L::F32 x) {
  if (activation == activation_silu) return silu<L>(x);
  return L::set(k_float(0x7fc00000u));
}

K_FN float k_silu(float x) {
  return silu<OneLane>(x);
}

/// f(gate)·up, floored as every output is.
K_FN float gated(uint32_t activation, float gate, float up) {
  return k_floor_tiny(activate<OneLane>(activation, gate) * up);
}

}  // namespace assay
