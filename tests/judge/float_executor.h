// A plain f32 executor in the contract's arithmetic, for testing the replay: it can be told to make
// one result wrong. Slow and short; src/cpu is the real one.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "../cpu/contract.h"
#include "lang/activation.h"
#include "op/executor.h"
#include "op/program.h"
#include "op/rope.h"
#include "quant/formats.h"

namespace assay::tests {

using Floats = std::vector<float>;

/// Σ in 32 strided lanes, then the xor tree.
inline float lane_sum(const float* x, size_t n, bool squared) {
  float lane[32] = {};
  for (size_t i = 0; i < n; ++i)
    lane[i % 32] = squared ? k_fma(x[i], x[i], lane[i % 32]) : lane[i % 32] + x[i];
  for (size_t step = 16; step > 0; step /= 2)
    for (size_t i = 0; i < step; ++i) lane[i] += lane[i + step];
  return lane[0];
}

inline Floats float_rms_norm(const float* x, const Floats& w, float eps) {
  const float mean = lane_sum(x, w.size(), true) / float(w.size());
  const float r = 1.0f / k_sqrt(mean + eps);
  Floats y(w.size());
  for (size_t i = 0; i < w.size(); ++i) y[i] = k_floor_tiny(x[i] * r * w[i]);
  return y;
}

/// Σ over chunks of 256; inside a chunk, `Block` terms (32 with integer codes, or 1) by fma.
inline float float_dot(const Floats& w, const float* x) {
  float total = 0;
  for (size_t first = 0; first < w.size(); first += 256) {
    float chunk = 0;
    for (size_t i = first; i < std::min(w.size(), first + 256); ++i)
      chunk = k_fma(w[i], x[i], chunk);
    total += chunk;
  }
  return total;
}

struct Coded {
  std::vector<int> codes;
  Floats scale;  // one each 32
};

inline Coded float_quantise(const float* x, size_t n) {
  Coded coded;
  for (size_t first = 0; first < n; first += 32) {
    float m = 0;
    for (size_t i = first; i < first + 32; ++i) m = std::max(m, std::fabs(x[i]));
    coded.scale.push_back(m / 127.0f);
    for (size_t i = first; i < first + 32; ++i)
      coded.codes.push_back(m == 0 ? 0 : int(std::nearbyint(x[i] * (127.0f / m))));
  }
  return coded;
}

/// Q8_0 row times codes: v = fma(RN(dot·d), dx, v) a block, chunks of eight blocks.
inline float coded_dot(const uint8_t* row, const Coded& x) {
  using Q = quant::Q8_0;
  float total = 0, chunk = 0;
  for (size_t b = 0; b < x.scale.size(); ++b) {
    const uint8_t* block = row + b * Q::block_bytes;
    int dot = 0;
    for (uint32_t i = 0; i < 32; ++i) dot += (int(Q::code(block, i)) - 128) * x.codes[b * 32 + i];
    chunk = k_fma(float(dot) * Q::scale(block, 0), x.scale[b], chunk);
    if (b % 8 == 7 || b + 1 == x.scale.size()) total += chunk, chunk = 0;
  }
  return total;
}

struct FloatCache {
  std::vector<Floats> keys, values;
};

/// One head over the keys that it sees, in chunks of 64 with a softmax each. `sink` may be null.
inline Floats float_attend(const float* query, const FloatCache& cache, uint32_t position,
                           uint32_t head, const op::AttentionShape& a, const float* sink) {
  const size_t kv_head = head / (a.heads / a.kv_heads), seen = a.first_key(position);
  const float slope = op::alibi_slope(a.alibi, head, a.heads);
  float largest = -INFINITY, sum = 0;
  Floats output(a.value_dim, 0.0f);
  for (size_t chunk_start = seen / 64 * 64; chunk_start <= position; chunk_start += 64) {
    const size_t first = std::max(chunk_start, seen);
    const size_t count = std::min<size_t>(chunk_start + 64, position + 1) - first;
    Floats p(count), chunk(a.value_dim, 0.0f);
    float m = -INFINITY;
    for (size_t j = 0; j < count; ++j) {
      float s = 0;
      for (size_t d = 0; d < a.key_dim; ++d)
        s = k_fma(query[d], cache.keys[first + j][kv_head * a.key_dim + d], s);
      p[j] = s * a.scale;
      if (a.soft_cap != 0) p[j] = soft_cap<OneLane>(p[j], a.soft_cap);
      if (slope != 0) p[j] = k_fma(-slope, float(position - first - j), p[j]);
      m = std::max(m, p[j]);
    }
    for (size_t j = 0; j < count; ++j) {
      p[j] = k_exp(p[j] - m);
      for (size_t i = 0; i < a.value_dim; ++i)
        chunk[i] = k_fma(p[j], cache.values[first + j][kv_head * a.value_dim + i], chunk[i]);
    }
    const float next = std::max(largest, m), old_part = k_exp(largest - next),
                new_part = k_exp(m - next);
    sum = k_fma(sum, old_part, lane_sum(p.data(), count, false) * new_part);
    for (size_t i = 0; i < a.value_dim; ++i)
      output[i] = k_fma(output[i], old_part, chunk[i] * new_part);
    largest = next;
  }
  if (sink) {
    const float next = std::max(largest, *sink), kept = k_exp(largest - next);
    sum = k_fma(sum, kept, k_exp(*sink - next));
    for (float& y : output) y = y * kept;
  }
  for (float& y : output) y = k_floor_tiny(y / sum);
  return output;
}

/// function(part, first element of its weights) for each of the equal parts of a row.
template <class Function>
Floats by_parts(const float* x, size_t width, size_t parts, size_t weights, Function function) {
  const size_t n = width / parts;
  Floats y;
  for (size_t i = 0; i < parts; ++i) {
    const Floats part = function(Floats(x + i * n, x + (i + 1) * n), weights == n ? 0 : i * n);
    y.insert(y.end(), part.begin(), part.end());
  }
  return y;
}

class FloatExecutor {
 public:
  /// May change the result of the operation with this index before anything sees it.
  using Fault = std::function<void(size_t index, std::span<float> result)>;

  FloatExecutor(const op::Program& program, const op::ExecutorOptions& options, Fault fault = {})
      : program_(program),
        options_(options),
        fault_(std::move(fault)),
        values_(program.values.size()),
        caches_(options.sequences, std::vector<FloatCache>(program.caches.size())) {}

  void run(const op::Step& step, const op::Sink& sink) {
    for (size_t i = 0; i < program_.operations.size(); ++i) {
      const op::Operation& o = program_.operations[i];
      Floats result = compute(o, step);
      if (fault_) fault_(i, result);
      if (o.is<op::KvStore>()) keep(o, step, result);
      sink(o, result);
      if (o.output != op::none) values_[o.output] = std::move(result);
    }
  }

 private:
  size_t rows(const op::Operation& o, const op::Step& step) const {
    return o.output != op::none && program_.values[o.output].selected ? step.selected.size()
                                                                      : step.tokens.size();
  }
  const Floats& in(const op::Operation& o, size_t i) const { return values_[o.inputs[i]]; }

  Floats decoded(const op::Weight& weight, uint64_t row) const {
    Floats w(weight.columns);
    quant::decode_row(weight.type, weight.row(row), w);
    return w;
  }

  Floats compute(const op::Operation& o, const op::Step& step) {
    Floats result;
    if (o.is<op::KvStore>()) {
      for (size_t side = 0; side < 2; ++side)
        for (float x : in(o, side))
          result.push_back(options_.cache == op::CacheType::f16 ? k_f16_to_f32(k_f32_to_f16(x))
                                                                : x);
      return result;
    }
    for (size_t t = 0; t < rows(o, step); ++t) {
      const Floats row = compute_row(o, step, t);
      result.insert(result.end(), row.begin(), row.end());
    }
    return result;
  }

  Floats compute_row(const op::Operation& o, const op::Step& step, size_t t) {
    const size_t width = program_.values[o.output].width;
    const size_t source = o.is<op::SelectRows>() ? step.selected[t] : t;
    const float* x =
        o.inputs.empty() ? nullptr : &in(o, 0)[source * program_.values[o.inputs[0]].width];
    const size_t x_width = o.inputs.empty() ? 0 : program_.values[o.inputs[0]].width;
    const size_t second_width = o.inputs.size() < 2 ? 0 : program_.values[o.inputs[1]].width;
    const float* second = o.inputs.size() < 2 ? nullptr : &in(o, 1)[t * second_width];
    const size_t used = second_width / 2;  // where the second is a routing
    const auto weight = [&] {
      return o.weight == op::none ? Floats() : decoded(program_.weights[o.weight], 0);
    };
    const auto bias = [&](uint64_t row = 0) {
      return o.bias == op::none ? Floats() : decoded(program_.weights[o.bias], row);
    };
    const auto part = [](const Floats& row, size_t first, size_t count) {
      return Floats(row.begin() + ptrdiff_t(first), row.begin() + ptrdiff_t(first + count));
    };
    const auto each = [&](auto function) {
      Floats made(width);
      for (size_t i = 0; i < width; ++i) made[i] = function(x[i]);
      return made;
    };
    Floats y(width);
    return op::visit(
        o,
        [&](const op::Embed& p) {
          return decoded(program_.weights[o.weight],
                         p.of_position ? step.positions[t] : uint64_t(step.tokens[t]));
        },
        [&](const op::RmsNorm& p) {
          const Floats w = weight();
          return by_parts(x, width, p.parts, w.size(), [&](const Floats& row, size_t first) {
            return float_rms_norm(row.data(), part(w, first, row.size()), p.eps);
          });
        },
        [&](const op::LayerNorm& p) {
          const Floats w = weight(), b = bias();
          return by_parts(x, width, p.parts, w.size(), [&](const Floats& row, size_t first) {
            return contract::layer_norm(row, part(w, first, row.size()),
                                        b.empty() ? b : part(b, first, row.size()), p.eps);
          });
        },
        [&](const op::Matmul&) {
          const op::Weight& matrix = program_.weights[o.weight];
          return multiply(matrix, 0, matrix.rows, bias(), x);
        },
        [&](const op::Rope& p) { return turn(o, p.heads, x, step.positions[t]); },
        [&](const op::Attend& p) {
          return attend(o, x, caches_[step.sequences[t]][p.cache], step.positions[t], weight());
        },
        [&](const op::Gate& p) {
          for (size_t i = 0; i < width; ++i)
            y[i] = gated(uint32_t(p.activation), x[i / (width / x_width)], second[i]);
          return y;
        },
        [&](const op::Activate& p) {
          return each(
              [&](float v) { return k_floor_tiny(activate<OneLane>(uint32_t(p.activation), v)); });
        },
        [&](const op::Xielu& p) {
          return each([&](float v) {
            return k_floor_tiny(xielu<OneLane>(v, p.alpha_p, p.alpha_n, p.beta, p.eps));
          });
        },
        [&](const op::Add&) {
          for (size_t i = 0; i < width; ++i) y[i] = x[i] + second[i];
          return y;
        },
        [&](const op::Scale& p) {
          const Floats b = bias();
          for (size_t i = 0; i < width; ++i) y[i] = x[i] * p.factor + (b.empty() ? 0.0f : b[i]);
          return y;
        },
        [&](const op::SoftCap& p) {
          return each([&](float v) { return k_floor_tiny(soft_cap<OneLane>(v, p.cap)); });
        },
        [&](const op::Clamp& p) {
          return each([&](float v) { return v < p.low ? p.low : v > p.high ? p.high : v; });
        },
        [&](const op::PositionScale& p) {
          float factor = 0;
          op::rope_row(program_.rope_tables[p.table], step.positions[t], {&factor, 1});
          return each([&](float v) { return k_floor_tiny(v * factor); });
        },
        [&](const op::Slice& p) {
          for (size_t i = 0; i < width; ++i)
            y[i] = x[i / p.width * (x_width / p.parts) + p.first + i % p.width];
          return y;
        },
        [&](const op::Route& p) { return contract::route(Floats(x, x + x_width), bias(), p); },
        [&](const op::MatmulExperts& p) {
          const op::Weight& matrix = program_.weights[o.weight];
          const uint64_t rows = matrix.rows / p.experts;
          Floats all;
          for (size_t u = 0; u < used; ++u) {
            const auto id = uint64_t(second[u]);
            const Floats one = multiply(matrix, id * rows, rows, bias(id),
                                        x_width == matrix.columns ? x : x + u * matrix.columns);
            all.insert(all.end(), one.begin(), one.end());
          }
          return all;
        },
        [&](const op::ScaleExperts&) {
          const Floats factors = weight();
          const size_t n = width / used;
          for (size_t i = 0; i < width; ++i) {
            const auto id = size_t(second[i / n]);
            y[i] = x[i] * factors[id] + (o.bias == op::none ? 0.0f : bias(id)[i % n]);
          }
          return y;
        },
        [&](const op::SpreadExperts&) {
          for (size_t i = 0; i < width; ++i)
            y[i] = k_floor_tiny(x[i % x_width] * second[used + i / x_width]);
          return y;
        },
        [&](const op::MixExperts& p) {
          return contract::mix(Floats(x, x + x_width),
                               p.weighted ? Floats(second + used, second + 2 * used) : Floats(),
                               used);
        },
        [&](const op::SelectRows&) { return Floats(x, x + width); },
        [&](const op::KvStore&) { return y; });
  }

  /// Rows first … first + count − 1 of a weight times x, plus bias.
  Floats multiply(const op::Weight& weight, uint64_t first, uint64_t count, const Floats& bias,
                  const float* x) const {
    const bool coded = weight.type == quant::Q8_0::id && options_.contract == op::Contract::assay1;
    const Coded codes = coded ? float_quantise(x, weight.columns) : Coded{};
    Floats y(count);
    for (uint64_t r = 0; r < count; ++r) {
      y[r] = coded ? coded_dot(weight.row(first + r).data(), codes)
                   : float_dot(decoded(weight, first + r), x);
      if (!bias.empty()) y[r] += bias[r];
    }
    return y;
  }

  Floats turn(const op::Operation& o, uint32_t heads, const float* x, uint32_t position) const {
    const op::RopeTable& rope = program_.rope_of(o);
    const size_t head_dim = program_.values[o.output].width / heads, half = rope.dimensions / 2;
    Floats table(rope.dimensions), y(x, x + heads * head_dim);
    op::rope_row(rope, position, table);
    for (size_t head = 0; head < heads; ++head)
      for (size_t i = 0; i < half; ++i) {
        const size_t a = head * head_dim + (rope.adjacent ? 2 * i : i),
                     b = a + (rope.adjacent ? 1 : half);
        const float c = table[2 * i], s = table[2 * i + 1];
        y[a] = k_floor_tiny(k_fma(x[a], c, -(x[b] * s)));
        y[b] = k_floor_tiny(k_fma(x[a], s, x[b] * c));
      }
    return y;
  }

  Floats attend(const op::Operation& o, const float* x, const FloatCache& cache, uint32_t position,
                const Floats& sinks) const {
    const op::AttentionShape a = program_.attention_of(o);
    Floats y;
    for (uint32_t head = 0; head < a.heads; ++head) {
      const Floats part = float_attend(x + head * a.key_dim, cache, position, head, a,
                                       sinks.empty() ? nullptr : &sinks[head]);
      y.insert(y.end(), part.begin(), part.end());
    }
    return y;
  }

  void keep(const op::Operation& o, const op::Step& step, const Floats& stored) {
    const size_t key_width = program_.values[o.inputs[0]].width,
                 value_width = program_.values[o.inputs[1]].width;
    for (size_t t = 0; t < step.tokens.size(); ++t) {
      FloatCache& cache = caches_[step.sequences[t]][o.as<op::KvStore>()->cache];
      cache.keys.resize(step.positions[t]);
      cache.values.resize(step.positions[t]);
      const float* key = &stored[t * key_width];
      const float* value = &stored[step.tokens.size() * key_width + t * value_width];
      cache.keys.emplace_back(key, key + key_width);
      cache.values.emplace_back(value, value + value_width);
    }
  }

  const op::Program& program_;
  op::ExecutorOptions options_;
  Fault fault_;
  std::vector<Floats> values_;
  std::vector<std::vector<FloatCache>> caches_;
};

}  // namespace assay::tests
