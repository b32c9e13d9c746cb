// The contract assay/1 restated as plain scalar loops, straight from docs/numbers.md: what every
// instruction set's kernels must equal bit for bit. No SIMD, no panels, no tiles.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "lang/math.h"
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
/// the group's codes; v = +0 at each chunk of 256, chunks add in order.
inline float dot(const op::Weight& weight, uint64_t r, const Row& x) {
  float total = 0, v = 0;
  quant::visit(weight.type, [&]<class F>() {
    if constexpr (!quant::is_float_format<F>) {
      for (uint64_t k = 0; k < weight.columns; k += F::group_size) {
        const uint8_t* block = weight.row(r).data() + k / F::block_size * F::block_bytes;
        const uint32_t inside = uint32_t(k % F::block_size), group = inside / F::group_size;
        int32_t sum = 0;
        for (uint32_t i = 0; i < F::group_size; ++i)
          sum += (int32_t(F::code(block, inside + i)) - F::code_offset) * x.codes[k + i];
        const float t = float(sum) * F::scale(block, group);
        v = std::fmaf(t, x.scale[k / 32], v);
        if constexpr (F::has_minimum) {
          int32_t codes = 0;
          for (uint32_t i = 0; i < F::group_size; ++i) codes += x.codes[k + i];
          v = std::fmaf(F::minimum(block, group), x.scale[k / 32] * float(codes), v);
        }
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

inline std::vector<float> rms_norm(const std::vector<float>& x, const std::vector<float>& weight,
                                   float eps) {
  std::vector<float> lanes(32, 0.0f), y;
  for (size_t i = 0; i < x.size(); ++i) lanes[i % 32] = std::fmaf(x[i], x[i], lanes[i % 32]);
  const float r = 1.0f / std::sqrt(tree(lanes) / float(x.size()) + eps);
  for (size_t i = 0; i < x.size(); ++i) y.push_back(k_floor_tiny(x[i] * r * weight[i]));
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

/// Rule 5. keys (key_count, key_dim), values (key_count, value_dim): what the cache holds, as f32.
inline std::vector<float> attention(const std::vector<float>& query, const std::vector<float>& keys,
                                    const std::vector<float>& values, float scale) {
  const size_t key_dim = query.size(), count = keys.size() / key_dim, dim = values.size() / count;
  std::vector<float> total(dim, 0.0f);
  float max = 0, sum = 0;
  for (size_t start = 0; start < count; start += 64) {
    const size_t end = std::min(count, start + 64);
    std::vector<float> s, lanes(32, 0.0f), part(dim, 0.0f);
    for (size_t j = start; j < end; ++j) {
      float product = 0;
      for (size_t d = 0; d < key_dim; ++d)
        product = std::fmaf(query[d], keys[j * key_dim + d], product);
      s.push_back(product * scale);
    }
    const float m = *std::max_element(s.begin(), s.end());
    for (size_t j = start; j < end; ++j) {
      const float p = k_exp(s[j - start] - m);
      lanes[(j - start) % 32] = lanes[(j - start) % 32] + p;
      for (size_t i = 0; i < dim; ++i) part[i] = std::fmaf(p, values[j * dim + i], part[i]);
    }
    const float l = tree(lanes);
    if (start == 0) {
      total = part, max = m, sum = l;
      continue;
    }
    const float now = std::max(max, m), a = k_exp(max - now), b = k_exp(m - now);
    max = now;
    sum = std::fmaf(sum, a, l * b);
    for (size_t i = 0; i < dim; ++i)
      total[i] = k_floor_tiny(std::fmaf(total[i], a, k_floor_tiny(part[i] * b)));
  }
  for (float& o : total) o = k_floor_tiny(o / sum);
  return total;
}

}  // namespace assay::tests::contract
