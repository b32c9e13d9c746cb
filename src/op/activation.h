// The activations: y = f(x), and the gated form y = f(gate)·up. The f32 formula of each, in the
// contract's order, is in lang/activation.h; the f64 formula and the bound are in judge/gate.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "lang/activation.h"

namespace assay::op {

enum class Activation : uint32_t {
  silu = activation_silu,
  gelu_tanh = activation_gelu_tanh,
  gelu_erf = activation_gelu_erf,
  gelu_quick = activation_gelu_quick,
  relu = activation_relu,
  relu_squared = activation_relu_squared,
  sigmoid = activation_sigmoid,
  softplus = activation_softplus,
  silu_clamped = activation_silu_clamped
};

struct ActivationRow {
  Activation activation;
  std::string_view name;     ///< "silu"
  std::string_view gated;    ///< the name of the kind f(gate)·up: "swiglu"
  std::string_view plain;    ///< the formula of f(x)
  std::string_view formula;  ///< of the gated form
};

inline constexpr std::array activations = {
    ActivationRow{Activation::silu, "silu", "swiglu", "y[i] = x[i] / (1 + exp(-x[i]))",
                  "y[i] = gate[i] / (1 + exp(-gate[i])) * up[i]"},
    ActivationRow{Activation::gelu_tanh, "gelu_tanh", "geglu_tanh",
                  "y[i] = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), x = x[i]",
                  "y[i] = g / 2 * (1 + tanh(sqrt(2 / pi) * (g + 0.044715 g^3))) * up[i], g = "
                  "gate[i]"},
    ActivationRow{Activation::gelu_erf, "gelu_erf", "geglu_erf",
                  "y[i] = x[i] / 2 * (1 + erf(x[i] / sqrt(2)))",
                  "y[i] = gate[i] / 2 * (1 + erf(gate[i] / sqrt(2))) * up[i]"},
    ActivationRow{Activation::gelu_quick, "gelu_quick", "geglu_quick",
                  "y[i] = x[i] / (1 + exp(-1.702 x[i]))",
                  "y[i] = gate[i] / (1 + exp(-1.702 gate[i])) * up[i]"},
    ActivationRow{Activation::relu, "relu", "reglu", "y[i] = max(x[i], 0)",
                  "y[i] = max(gate[i], 0) * up[i]"},
    ActivationRow{Activation::relu_squared, "relu_squared", "reglu_squared",
                  "y[i] = max(x[i], 0)^2", "y[i] = max(gate[i], 0)^2 * up[i]"},
    ActivationRow{Activation::sigmoid, "sigmoid", "glu", "y[i] = 1 / (1 + exp(-x[i]))",
                  "y[i] = 1 / (1 + exp(-gate[i])) * up[i]"},
    ActivationRow{Activation::softplus, "softplus", "softplus_glu", "y[i] = log(1 + exp(x[i]))",
                  "y[i] = log(1 + exp(gate[i])) * up[i]"},
    ActivationRow{Activation::silu_clamped, "silu_clamped", "swiglu_clamped",
                  "y[i] = g / (1 + exp(-1.702 g)), g = min(x[i], 7)",
                  "y[i] = g / (1 + exp(-1.702 g)) * (min(max(up[i], -7), 7) + 1), g = min(gate[i], "
                  "7)"},
};

constexpr const ActivationRow& row_of(Activation activation) {
  return activations[size_t(activation)];
}

/// The activation of this name.
constexpr std::optional<Activation> activation_named(std::string_view name) {
  for (const ActivationRow& row : activations)
    if (row.name == name) return row.activation;
  return std::nullopt;
}

/// The activation whose gated form has this name.
constexpr std::optional<Activation> activation_of_gate(std::string_view gated) {
  for (const ActivationRow& row : activations)
    if (row.gated == gated) return row.activation;
  return std::nullopt;
}

}  // namespace assay::op
