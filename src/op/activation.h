// The activations: y = f(x), and the gated form y = f(gate)·up. The f32 formula of each, in the
// contract's order, stands in lang/activation.h; the f64 formula and the bound in
// judge/activation.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "lang/activation.h"

namespace assay::op {

enum class Activation : uint32_t { silu = activation_silu };

struct ActivationRow {
  Activation activation;
  std::string_view name;     ///< "silu"
  std::string_view gated;    ///< the name of the kind f(gate)·up: "swiglu"
  std::string_view formula;  ///< of the gated form
};

inline constexpr std::array activations = {
    ActivationRow{Activation::silu, "silu", "swiglu",
                  "y[i] = gate[i] / (1 + exp(-gate[i])) * up[i]"},
};

constexpr const ActivationRow& row_of(Activation activation) {
  return activations[size_t(activation)];
}

/// The activation whose gated form has this name.
constexpr std::optional<Activation> activation_of_gate(std::string_view gated) {
  for (const ActivationRow& row : activations)
    if (row.gated == gated) return row.activation;
  return std::nullopt;
}

}  // namespace assay::op
