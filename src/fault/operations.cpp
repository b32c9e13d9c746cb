#include "fault/operations.h"

#include <algorithm>
#include <cmath>

#include "lang/activation.h"
#include "lang/math.h"
#include "op/rope.h"

namespace assay::fault {

float lane_sum(std::span<const float> x, bool squared) {
  float lane[32] = {};
  for (size_t i = 0; i < x.size(); ++i)
    lane[i % 32] = squared ? k_fma(x[i], x[i], lane[i % 32]) : lane[i % 32] + x[i];
  for (size_t step = 16; step > 0; step /= 2)
    for (size_t i = 0; i < step; ++i) lane[i] += lane[i + step];
  return lane[0];
}

static Floats one_norm(std::span<const float> x, std::span<const float> w, float eps,
                       Active fault) {
  Floats centred(x.begin(), x.end());
  if (fault.is(Bug::unlisted_mean)) {  // LayerNorm's first half
    const float middle = lane_sum(x, false) / float(x.size());
    for (float& value : centred) value -= middle;
  }
  const float r = k_inverse_rms(lane_sum(centred, true), float(x.size()),
                                fault.choose(Bug::norm_eps, float(fault.value), eps));
  Floats y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    float weight = w[i];
    if (fault.is(Bug::norm_plus_one)) weight += 1.0f;  // Gemma's norms hold w − 1
    if (fault.is(Bug::norm_weight_omitted)) weight = 1.0f;
    y[i] = k_floor_tiny(centred[i] * r * weight);
    if (fault.is(Bug::norm_weight_twice)) y[i] = k_floor_tiny(y[i] * weight);
  }
  return y;
}

Floats rms_norm(std::span<const float> x, std::span<const float> w, float eps, Active fault) {
  Floats y;
  for (size_t start = 0; start < x.size(); start += w.size()) {
    const Floats part = one_norm(x.subspan(start, w.size()), w, eps, fault);
    y.insert(y.end(), part.begin(), part.end());
  }
  return y;
}

// rope_factors: as Llama 3 does, slow pairs are slowed further (Dubey et al. 2024).
op::RopeTable read_rope(const op::RopeTable& rope, Active fault) {
  op::RopeTable read = rope;
  const size_t pairs = rope.frequency.size();
  if (fault.is(Bug::rope_pairing)) read.adjacent = !rope.adjacent;
  if (fault.is(Bug::rope_base)) {
    op::RopeParameters other;
    other.dimensions = rope.dimensions;
    other.base = fault.value;
    read.frequency = op::make_rope(other, rope.adjacent).frequency;
  }
  for (size_t i = 0; i < pairs; ++i)
    if (fault.is(Bug::rope_scaling) || (fault.is(Bug::rope_factors) && i >= pairs / 2))
      read.frequency[i] /= fault.value;
  return read;
}

// y₀ = fma(x₀, cos, −RN(x₁·sin)), y₁ = fma(x₁, cos, RN(x₀·sin))
Floats turn(std::span<const float> x, const op::RopeTable& rope, uint32_t heads, uint32_t position,
            Active fault) {
  const size_t head_dim = x.size() / heads, half = rope.dimensions / 2;
  Floats table(rope.dimensions), y(x.size());
  op::rope_row(rope, position, table);
  for (size_t head = 0; head < heads; ++head) {
    const size_t start = head * head_dim;
    for (size_t i = 0; i < half; ++i) {
      const size_t first = start + (rope.adjacent ? 2 * i : i);
      const size_t second = first + (rope.adjacent ? 1 : half);
      const float c = table[2 * i];
      const float s = fault.choose(Bug::unlisted_backwards, -table[2 * i + 1], table[2 * i + 1]);
      y[first] = k_floor_tiny(k_fma(x[first], c, -k_floor_tiny(x[second] * s)));
      y[second] = k_floor_tiny(k_fma(x[second], c, k_floor_tiny(x[first] * s)));
    }
    for (size_t i = rope.dimensions; i < head_dim; ++i) y[start + i] = k_floor_tiny(x[start + i]);
  }
  return y;
}

namespace {

/// tanh x = 1 − 2/(e^2x + 1), ±1 at the ends.
float tanh_of(float x) {
  return 1.0f - 2.0f / (k_exp(2.0f * x) + 1.0f);
}

/// silu(x) = x·sigmoid(x); gelu(x) = x·Φ(x), Φ by erf or by the tanh formula (Hendrycks and Gimpel
/// 2016); relu(x) = max(x, 0).
float activate(op::Activation activation, float x, Active fault) {
  constexpr float root_two_over_pi = 0.7978845608f, root_half = 0.7071067812f;
  switch (fault.bug) {
    case Bug::activation_gelu_tanh:
      return 0.5f * x * (1.0f + tanh_of(root_two_over_pi * (x + 0.044715f * x * x * x)));
    case Bug::activation_gelu_erf:
      return 0.5f * x * (1.0f + std::erf(x * root_half));
    case Bug::activation_relu:
      return std::max(x, 0.0f);
    default:
      return assay::activate<OneLane>(uint32_t(activation), x);
  }
}

}  // namespace

Floats gated(op::Activation activation, std::span<const float> gate, std::span<const float> up,
             Active fault) {
  if (fault.is(Bug::gate_up_swapped)) std::swap(gate, up);
  Floats y(gate.size());
  for (size_t i = 0; i < y.size(); ++i)
    y[i] = k_floor_tiny(activate(activation, gate[i], fault) * up[i]);
  return y;
}

Floats add(std::span<const float> residual, std::span<const float> branch, Active fault) {
  Floats y(residual.size());
  for (size_t i = 0; i < y.size(); ++i) {
    y[i] = residual[i] + branch[i];
    if (fault.is(Bug::residual_scale)) y[i] = residual[i] + branch[i] * float(fault.value);
    if (fault.is(Bug::residual_missing)) y[i] = branch[i];
    if (fault.is(Bug::branch_missing)) y[i] = residual[i];
    if (fault.is(Bug::clipped)) y[i] = std::clamp(y[i], -float(fault.value), float(fault.value));
  }
  return y;
}

}  // namespace assay::fault
