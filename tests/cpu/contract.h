// The contract assay/1 restated as plain scalar loops, straight from docs/numbers.md: what every
// instruction set's kernels must equal bit for bit. No SIMD, no panels, no tiles.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <vector>

#include "lang/activation.h"
#include "op/program.h"
#include "quant/formats.h"

namespace assay::tests::contract {

/// One row of activations: codes and scale for each 32 values.
struct Row {
  std::vector<int8_t> codes;
  std::vector<float> scale, scaled_sum;  // (columns / 32): d, RN(d·float(Σ codes))
  std::vector<int32_t> half_sums;        // (columns / 16)
};

/// Rule 1: d = max|x|/127, code = rne(x·(127/max|x|)); max < 2^-72: zeros; not finite: d = NaN.
inline Row quantise(const std::vector<float>& x) {
  Row row;
  for (size_t q = 0; q < x.size() / 32; ++q) {
    float largest = 0;
    bool finite = true;
    for (size_t i = 32 * q; i < 32 * q + 32; ++i) {
      finite = finite && std::isfinite(x[i]);
      largest = std::max(largest, std::fabs(x[i]));
    }
    const bool zeros = !finite || largest < 0x1p-72f;
    int32_t sums[2] = {0, 0};
    for (size_t i = 0; i < 32; ++i) {
      const float code = zeros ? 0.0f : std::nearbyintf(x[32 * q + i] * (127.0f / largest));
      row.codes.push_back(int8_t(code));
      sums[i / 16] += int32_t(code);
    }
    const float d = !finite ? std::numeric_limits<float>::quiet_NaN() : zeros ? 0 : largest / 127;
    row.scale.push_back(d);
    row.scaled_sum.push_back(d * float(sums[0] + sums[1]));
    row.half_sums.insert(row.half_sums.end(), {sums[0], sums[1]});
  }
  return row;
}

/// Rules 2 and A: t = RN(float(dot)·scale), v = fma(t, d, v), v = fma(minimum, RN(d·Σ), v), Σ of
/// the group's codes; of fine scales v = +0 where |v| < 2^-100; v = +0 at each chunk of 256, chunks
/// add in order.
inline float dot(const op::Weight& weight, uint64_t r, const Row& x) {
  float total = 0, v = 0;
  quant::visit(weight.type, [&]<class F>() {
    if constexpr (!quant::is_float_format<F>) {
      for (uint64_t k = 0; k < weight.columns; k += F::group_size) {
        const uint8_t* block = weight.row(r).data() + k / F::block_size * F::block_bytes;
        const uint32_t inside = uint32_t(k % F::block_size), group = inside / F::group_size;
        int32_t sum = 0;
        for (uint32_t i = 0; i < F::group_size; ++i)
          sum += quant::value_of<F>(F::code(block, inside + i)) * x.codes[k + i];
        const float t = float(sum) * F::scale(block, group);
        v = std::fmaf(t, x.scale[k / 32], v);
        if constexpr (F::has_minimum) {
          int32_t codes = 0;
          for (uint32_t i = 0; i < F::group_size; ++i) codes += x.codes[k + i];
          v = std::fmaf(F::minimum(block, group), x.scale[k / 32] * float(codes), v);
        }
        if (quant::has_fine_scales<F> && std::fabs(v) < 0x1p-100f) v = 0;
        if ((k + F::group_size) % 256 == 0 || k + F::group_size == weight.columns) {
          total = total + v;
          v = 0;
        }
      }
    }
  });
  return total;
}

/// The weights of a row as f32, as quant::decode has them.
inline std::vector<float> decoded(const op::Weight& weight, uint64_t r) {
  std::vector<float> w(weight.columns);
  quant::decode_row(weight.type, weight.row(r), w);
  return w;
}

/// Rule 3: v = fma(w, x, v) in order of k, the same chunks.
inline float dot_f32(const std::vector<float>& w, const float* x) {
  float total = 0, v = 0;
  for (uint64_t k = 0; k < w.size(); ++k) {
    v = std::fmaf(w[k], x[k], v);
    if ((k + 1) % 256 == 0 || k + 1 == w.size()) {
      total = total + v;
      v = 0;
    }
  }
  return total;
}

/// Rule 4: the xor tree 16, 8, 4, 2, 1 over 32 lanes.
inline float tree(std::vector<float> lanes) {
  for (uint32_t step = 16; step >= 1; step /= 2) {
    const std::vector<float> before = lanes;
    for (uint32_t i = 0; i < 32; ++i) lanes[i] = before[i] + before[i ^ step];
  }
  return lanes[0];
}

inline float lane_sum(const std::vector<float>& x, bool squared) {
  std::vector<float> lanes(32, 0.0f);
  for (size_t i = 0; i < x.size(); ++i)
    lanes[i % 32] = squared ? std::fmaf(x[i], x[i], lanes[i % 32]) : lanes[i % 32] + x[i];
  return tree(lanes);
}

inline std::vector<float> rms_norm(const std::vector<float>& x, const std::vector<float>& weight,
                                   float eps) {
  std::vector<float> y;
  const float r = 1.0f / std::sqrt(lane_sum(x, true) / float(x.size()) + eps);
  for (size_t i = 0; i < x.size(); ++i) y.push_back(k_floor_tiny(x[i] * r * weight[i]));
  return y;
}

/// `bias` may be empty.
inline std::vector<float> layer_norm(const std::vector<float>& x, const std::vector<float>& weight,
                                     const std::vector<float>& bias, float eps) {
  const float mean = lane_sum(x, false) / float(x.size());
  std::vector<float> d, y;
  for (const float value : x) d.push_back(value - mean);
  const float r = 1.0f / std::sqrt(lane_sum(d, true) / float(x.size()) + eps);
  for (size_t i = 0; i < x.size(); ++i) {
    const float product = d[i] * r * weight[i];
    y.push_back(k_floor_tiny(bias.empty() ? product : product + bias[i]));
  }
  return y;
}

inline std::vector<float> rope(const std::vector<float>& x, const std::vector<float>& table,
                               bool adjacent) {
  const size_t half = table.size() / 2;
  std::vector<float> y;
  for (float value : x) y.push_back(k_floor_tiny(value));
  for (size_t i = 0; i < half; ++i) {
    const size_t a = adjacent ? 2 * i : i, b = adjacent ? 2 * i + 1 : i + half;
    const float c = table[2 * i], s = table[2 * i + 1];
    y[a] = k_floor_tiny(std::fmaf(x[a], c, -k_floor_tiny(x[b] * s)));
    y[b] = k_floor_tiny(std::fmaf(x[b], c, k_floor_tiny(x[a] * s)));
  }
  return y;
}

inline float swiglu(float gate, float up) {
  return k_floor_tiny(gate / (1.0f + k_exp(-gate)) * up);
}

/// The activations themselves are those of lang/activation.h over one lane: special_test and the
/// tests of quant measure them.
inline float gate(uint32_t activation, float g, float up) {
  const bool clamps = activation == activation_silu_clamped;
  const float factor = clamps ? std::clamp(up, -7.0f, 7.0f) + 1.0f : up;
  return k_floor_tiny(assay::activate<OneLane>(activation, g) * factor);
}

inline float soft_cap(float x, float cap) {
  const float t = k_exp(-2.0f * std::fabs(x / cap));
  return cap * std::copysign((1.0f - t) / (1.0f + t), x);
}

inline std::vector<float> softmax(const std::vector<float>& x) {
  float m = -std::numeric_limits<float>::infinity();
  for (const float value : x) m = std::isnan(value) || std::isnan(m) ? NAN : std::max(m, value);
  std::vector<float> p;
  for (const float value : x) p.push_back(k_exp(value - m));
  const float sum = lane_sum(p, false);
  for (float& value : p) value = value / sum;
  return p;
}

/// The indices of the `count` highest, highest first, of equals the lower index first.
inline std::vector<size_t> best(const std::vector<float>& values, size_t count) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return values[a] > values[b]; });
  order.resize(count);
  return order;
}

inline std::vector<float> route(const std::vector<float>& x, const std::vector<float>& bias,
                                const op::Route& router) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> p = softmax(x), choice = x;
  if (router.sigmoid)
    for (size_t e = 0; e < x.size(); ++e) p[e] = assay::sigmoid<OneLane>(x[e]);
  for (size_t e = 0; e < bias.size(); ++e) choice[e] = p[e] + bias[e];
  for (float& c : choice) c = std::isnan(c) ? infinity : c;
  const size_t size = x.size() / router.groups;
  std::vector<float> values;
  for (size_t g = 0; g < router.groups; ++g) {
    std::vector<float> group(choice.begin() + ptrdiff_t(g * size),
                             choice.begin() + ptrdiff_t((g + 1) * size));
    std::ranges::sort(group, std::greater());
    const float value = router.by_two ? group[0] + group[1] : group[0];
    values.push_back(std::isnan(value) ? infinity : value);
  }
  std::vector<size_t> stay, groups = best(values, router.used_groups);
  std::ranges::sort(groups);
  std::vector<float> left;
  for (const size_t g : groups)
    for (size_t e = g * size; e < (g + 1) * size; ++e) {
      stay.push_back(e);
      left.push_back(choice[e]);
    }
  std::vector<float> ids, weights;
  for (const size_t i : best(left, router.used)) ids.push_back(float(stay[i]));
  for (const float id : ids) weights.push_back(router.of_chosen ? x[size_t(id)] : p[size_t(id)]);
  const auto in_order = [&] {
    return std::accumulate(weights.begin() + 1, weights.end(), weights[0]);
  };
  if (router.of_chosen) {
    float m = weights[0];
    for (const float w : weights) m = std::isnan(w) || std::isnan(m) ? NAN : std::max(m, w);
    for (float& w : weights) w = k_exp(w - m);
    const float sum = in_order();
    for (float& w : weights) w = w / sum;
  }
  if (router.renormalise) {
    const float sum = in_order();
    for (float& w : weights) w = w / (sum < 0x1p-72f ? 0x1p-72f : sum);
  }
  for (float& w : weights) w = k_floor_tiny(router.scale == 1.0f ? w : w * router.scale);
  ids.insert(ids.end(), weights.begin(), weights.end());
  return ids;
}

/// x (used, n), one row for each chosen expert; no weights: each 1.
inline std::vector<float> mix(const std::vector<float>& x, const std::vector<float>& weights,
                              size_t used) {
  const size_t n = x.size() / used;
  std::vector<float> y(n);
  for (size_t i = 0; i < n; ++i) {
    float v = weights.empty() ? x[i] : x[i] * weights[0];
    for (size_t u = 1; u < used; ++u)
      v = weights.empty() ? v + x[u * n + i] : std::fmaf(x[u * n + i], weights[u], v);
    y[i] = k_floor_tiny(v);
  }
  return y;
}

/// What attention may have beside its scale.
struct AttentionExtras {
  size_t first = 0;  ///< the first key that is seen
  float soft_cap = 0, slope = 0;
  std::optional<float> sink = {};
};

/// Rule 5. keys (key_count, key_dim), values (key_count, value_dim): what the cache holds, as f32; the
/// last is the query's own.
inline std::vector<float> attention(const std::vector<float>& query, const std::vector<float>& keys,
                                    const std::vector<float>& values, float scale,
                                    const AttentionExtras& extras = {}) {
  const size_t key_dim = query.size(), count = keys.size() / key_dim, dim = values.size() / count;
  std::vector<float> total(dim, 0.0f);
  float max = 0, sum = 0;
  const size_t first = extras.first / 64 * 64;
  for (size_t start = first; start < count; start += 64) {
    const size_t begin = std::max(start, extras.first), end = std::min(count, start + 64);
    std::vector<float> s, lanes(32, 0.0f), part(dim, 0.0f);
    for (size_t j = begin; j < end; ++j) {
      float score = 0;
      for (size_t d = 0; d < key_dim; ++d)
        score = std::fmaf(query[d], keys[j * key_dim + d], score);
      score = score * scale;
      if (extras.soft_cap != 0) score = soft_cap(score, extras.soft_cap);
      if (extras.slope != 0) score = std::fmaf(-extras.slope, float(count - 1 - j), score);
      s.push_back(score);
    }
    const float m = *std::max_element(s.begin(), s.end());
    std::vector<float> p(64, 0.0f);
    for (size_t j = begin; j < end; ++j) {
      p[j - start] = k_exp(s[j - begin] - m);
      for (size_t i = 0; i < dim; ++i)
        part[i] = std::fmaf(p[j - start], values[j * dim + i], part[i]);
    }
    for (size_t i = 0; i < 32; ++i) lanes[i] = p[i] + p[i + 32];
    const float l = tree(lanes);
    if (start == first) {
      total = part, max = m, sum = l;
      continue;
    }
    const float now = std::max(max, m), a = k_exp(max - now), b = k_exp(m - now);
    max = now;
    sum = std::fmaf(sum, a, l * b);
    for (size_t i = 0; i < dim; ++i)
      total[i] = k_floor_tiny(std::fmaf(total[i], a, k_floor_tiny(part[i] * b)));
  }
  if (extras.sink) {
    const float now = std::max(max, *extras.sink);
    const float a = k_exp(max - now), b = k_exp(*extras.sink - now);
    sum = std::fmaf(sum, a, b);
    for (float& o : total) o = k_floor_tiny(o * a);
  }
  for (float& o : total) o = k_floor_tiny(o / sum);
  return total;
}

}  // namespace assay::tests::contract
