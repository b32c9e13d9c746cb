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

namespace {

/// Part `part` of a row: element i has weight and bias (part·n + i) mod their size.
Floats one_norm(std::span<const float> x, const Norm& norm, size_t first, Active fault) {
  const float n = float(x.size());
  Floats centred(x.begin(), x.end());
  // unlisted_mean: LayerNorm's first half, in an RmsNorm.
  if (fault.is(Bug::unlisted_mean) || (norm.centred && !fault.is(Bug::norm_mean_kept))) {
    const float middle = lane_sum(x, false) / n;
    for (float& value : centred) value -= middle;
  }
  const float r = k_inverse_rms(lane_sum(centred, true), n,
                                fault.choose(Bug::norm_eps, float(fault.value), norm.eps));
  const bool bias = !norm.bias.empty() && !fault.is(Bug::bias_missing);
  Floats y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    float weight = norm.weight[(first + i) % norm.weight.size()];
    if (fault.is(Bug::norm_plus_one)) weight += 1.0f;  // Gemma's norms hold w − 1
    if (fault.is(Bug::norm_weight_omitted)) weight = 1.0f;
    y[i] = centred[i] * r * weight;
    if (fault.is(Bug::norm_weight_twice)) y[i] = k_floor_tiny(y[i]) * weight;
    if (bias) y[i] += norm.bias[(first + i) % norm.bias.size()];
    if (bias && fault.is(Bug::bias_twice)) y[i] += norm.bias[(first + i) % norm.bias.size()];
    y[i] = k_floor_tiny(y[i]);
  }
  return y;
}

}  // namespace

Floats normed(std::span<const float> x, const Norm& norm, Active fault) {
  const size_t parts = fault.choose<size_t>(Bug::norm_whole_row, 1, norm.parts);
  const size_t n = x.size() / parts;
  Floats y;
  for (size_t start = 0; start < x.size(); start += n) {
    const Floats part = one_norm(x.subspan(start, n), norm, start, fault);
    y.insert(y.end(), part.begin(), part.end());
  }
  return y;
}

/// As a model trained for 4096 positions does that is to see `factor` as many (Peng et al. 2023): a
/// pair that turns 32 times in them keeps its speed, one that turns once is slowed by the factor.
static void slow_by_parts(op::RopeTable& rope, double factor) {
  constexpr double trained = 4096, turn = 6.283185307179586;
  const double pairs = double(rope.frequency.size());
  const double step = -std::log(rope.frequency[1]);  // ln of a pair's speed over the next one's
  const auto where_it_turns = [&](double times) {
    return std::log(trained / (turn * times)) / step;
  };
  const double first = std::max(0.0, std::floor(where_it_turns(32)));
  const double last = std::min(2 * pairs - 1, std::ceil(where_it_turns(1)));
  for (size_t i = 0; i < rope.frequency.size(); ++i) {
    const double part = std::clamp((double(i) - first) / std::max(last - first, 0.001), 0.0, 1.0);
    rope.frequency[i] *= part / factor + (1 - part);
  }
  rope.magnitude = 0.1 * std::log(factor) + 1;
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
  if (fault.is(Bug::rope_dimensions)) {
    read.dimensions = rope.dimensions / 2;
    read.frequency.resize(read.dimensions / 2);
  }
  if (fault.is(Bug::rope_magnitude)) read.magnitude *= fault.value;
  if (fault.is(Bug::rope_yarn)) slow_by_parts(read, fault.value);
  for (size_t i = 0; i < read.frequency.size(); ++i)
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
    if (fault.is(Bug::head_part) && head >= (heads + 1) / 2) {
      std::copy_n(x.begin() + int64_t(start), head_dim, y.begin() + int64_t(start));
      continue;
    }
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

/// gelu(x) = x·Φ(x), Φ by erf, by the tanh formula (Hendrycks and Gimpel 2016) or by a sigmoid;
/// relu(x) = max(x, 0); silu(x) = x·sigmoid(x).
float activate(op::Activation activation, float x, Active fault) {
  constexpr float root_two_over_pi = 0.7978845608f, root_half = 0.7071067812f;
  switch (fault.bug) {
    case Bug::activation_gelu_tanh:
      return 0.5f * x * (1.0f + tanh_of(root_two_over_pi * (x + 0.044715f * x * x * x)));
    case Bug::activation_gelu_erf:
      return 0.5f * x * (1.0f + std::erf(x * root_half));
    case Bug::activation_gelu_quick:
      return x / (1.0f + k_exp(-1.702f * x));
    case Bug::activation_relu:
      return std::max(x, 0.0f);
    case Bug::activation_silu:
      return x / (1.0f + k_exp(-x));
    default:
      return assay::activate<OneLane>(uint32_t(activation), x);
  }
}

/// y[i] = k_floor_tiny(f(x[i]))
template <class Function>
Floats each(std::span<const float> x, const Function& f) {
  Floats y(x.begin(), x.end());
  for (float& value : y) value = k_floor_tiny(f(value));
  return y;
}

}  // namespace

Floats gated(op::Activation activation, std::span<const float> gate, std::span<const float> up,
             Active fault) {
  if (fault.is(Bug::gate_up_swapped)) std::swap(gate, up);
  const size_t r = up.size() / gate.size();
  Floats y(up.size());
  for (size_t i = 0; i < y.size(); ++i) {
    const float opened =
        fault.is(Bug::gate_missing) ? 1.0f : activate(activation, gate[i / r], fault);
    y[i] = k_floor_tiny(opened * gate_factor<OneLane>(uint32_t(activation), up[i]));
  }
  return y;
}

Floats activated(op::Activation activation, std::span<const float> x, Active fault) {
  return each(x, [&](float value) { return activate(activation, value, fault); });
}

Floats xielu_of(const op::Xielu& p, std::span<const float> x, Active fault) {
  const float beta = fault.choose(Bug::xielu_line_missing, 0.0f, p.beta);
  return each(
      x, [&](float value) { return xielu<OneLane>(value, p.alpha_p, p.alpha_n, beta, p.eps); });
}

Floats capped(const op::SoftCap& p, std::span<const float> x, Active fault) {
  return each(x, [&](float value) {
    return fault.is(Bug::cap_missing) ? value : soft_cap<OneLane>(value, p.cap);
  });
}

Floats clamped(const op::Clamp& p, std::span<const float> x, Active fault) {
  Floats y(x.begin(), x.end());
  if (fault.is(Bug::clamp_missing)) return y;
  for (float& value : y) value = value < p.low ? p.low : value > p.high ? p.high : value;
  return y;
}

Floats position_scaled(std::span<const float> x, const op::RopeTable& table, uint32_t position,
                       Active fault) {
  float factor = 1;
  op::rope_row(table, position, {&factor, 1});
  if (fault.is(Bug::temperature_missing)) factor = 1;
  return each(x, [&](float value) { return value * factor; });
}

Floats scaled(std::span<const float> x, float factor, std::span<const float> b, Active fault) {
  Floats y(x.begin(), x.end());
  for (size_t i = 0; i < y.size(); ++i) {
    if (fault.is(Bug::factor_divides))
      y[i] /= factor;
    else if (!fault.is(Bug::factor_missing))
      y[i] *= factor;
    if (!b.empty()) y[i] += b[i];
  }
  return y;
}

Floats sliced(const op::Slice& p, std::span<const float> x) {
  Floats y;
  const size_t part = x.size() / p.parts;
  for (size_t start = 0; start < x.size(); start += part) {
    const auto piece = x.subspan(start + p.first, p.width);
    y.insert(y.end(), piece.begin(), piece.end());
  }
  return y;
}

Floats add(std::span<const float> residual, std::span<const float> branch, Active fault) {
  Floats y(residual.size());
  for (size_t i = 0; i < y.size(); ++i) {
    y[i] = residual[i] + branch[i];
    if (fault.is(Bug::residual_scale)) y[i] = residual[i] + branch[i] * float(fault.value);
    if (fault.is(Bug::residual_missing)) y[i] = branch[i];
    if (fault.is(Bug::branch_missing) || fault.is(Bug::layer_missing)) y[i] = residual[i];
    if (fault.is(Bug::clipped)) y[i] = std::clamp(y[i], -float(fault.value), float(fault.value));
  }
  return y;
}

}  // namespace assay::fault
