// Programs of any kinds of operations over random weights, and what each operation must give, as
// plain loops straight from docs/numbers.md: every value that a traced run offers is compared with
// the loop over the values that it was made of.
#pragma once

#include <deque>
#include <map>

#include "../cpu/tiny_program.h"
#include "lang/activation.h"
#include "op/kinds.h"
#include "op/rope.h"
#include "queues.h"

namespace assay::tests {

/// A program that grows by operations, with weights of its own.
class Sketch {
 public:
  op::Program program;

  explicit Sketch(uint32_t seed = 1) : random(seed) {
    program.vocabulary = vocabulary;
    program.context = 1024;
  }
  Sketch(const Sketch&) = delete;

  /// A random weight; of a float format or one of blocks.
  uint32_t matrix(uint32_t type, uint64_t rows, uint64_t columns, float size = 0) {
    return keep(
        model_matrix(type, rows, columns, size > 0 ? size : 1 / std::sqrt(float(columns)), random));
  }
  uint32_t floats(uint64_t rows, uint64_t columns, const std::vector<float>& values) {
    std::vector<uint8_t> bytes(4 * values.size());
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return keep({quant::F32::id, rows, columns, std::move(bytes)});
  }
  /// F32 values around `middle`.
  uint32_t spread(uint64_t rows, uint64_t columns, float middle, float size) {
    std::vector<float> values(rows * columns);
    for (float& value : values) value = middle + size * random.uniform();
    return floats(rows, columns, values);
  }
  uint32_t add(op::Parameters of, std::vector<uint32_t> inputs, uint32_t weight = op::none,
               uint32_t bias = op::none) {
    return program.append({.name = "op" + std::to_string(program.operations.size()),
                           .of = std::move(of),
                           .inputs = std::move(inputs),
                           .weight = weight,
                           .bias = bias});
  }
  uint32_t embed(uint32_t width, float size = 1) {
    return add(op::Embed{}, {}, spread(vocabulary, width, 0, size));
  }
  uint32_t matmul(uint32_t x, uint32_t type, uint32_t rows, bool bias = false) {
    return add(op::Matmul{}, {x}, matrix(type, rows, program.values[x].width),
               bias ? spread(1, rows, 0, 0.2f) : op::none);
  }
  uint32_t norm(uint32_t x) {
    return add(op::RmsNorm{1e-5f}, {x}, spread(1, program.values[x].width, 1, 0.3f));
  }

  const op::Program& finish() {
    program.assign_buffers();
    return program;
  }

  Random random;

 private:
  uint32_t keep(Matrix matrix) {
    matrix.weight.name = "w" + std::to_string(matrices_.size());
    matrices_.push_back(std::move(matrix));
    return program.add_weight(matrices_.back().weight);
  }
  std::deque<Matrix> matrices_;  // a deque: the weights' views stay valid
};

/// The loops. They hold the caches, so one of them sees all steps of a run.
class Loops {
 public:
  explicit Loops(const op::Program& program) : program_(program) {}

  /// For Executor::run.
  op::Sink sink(const Tokens& tokens) {
    tokens_ = &tokens;
    values_.clear();
    return [this](const op::Operation& operation, std::span<const float> got) {
      const std::vector<float> want =
          op::visit(operation, [&](const auto& p) { return result(operation, p); });
      EXPECT_EQ(difference(got, want), "")
          << operation.name << ", " << op::name_of(operation) << " of " << tokens_->ids.size();
      if (operation.output != op::none) values_[operation.output] = {got.begin(), got.end()};
      ++seen;
    };
  }
  uint64_t seen = 0;

 private:
  using Row = std::vector<float>;
  struct Held {  // of a sequence's positions
    std::vector<Row> keys, values;
  };

  uint32_t width(uint32_t value) const { return program_.values[value].width; }
  uint64_t rows(uint32_t value) const { return values_.at(value).size() / width(value); }
  Row row(uint32_t value, uint64_t r) const {
    const Row& all = values_.at(value);
    const auto from = all.begin() + ptrdiff_t(r * width(value));
    return {from, from + width(value)};
  }
  /// make(a row of input 0, its index) of all rows, one after the other.
  template <class Make>
  Row by_row(const op::Operation& o, const Make& make) const {
    Row y;
    for (uint64_t r = 0; r < rows(o.inputs[0]); ++r) {
      const Row part = make(row(o.inputs[0], r), r);
      y.insert(y.end(), part.begin(), part.end());
    }
    return y;
  }
  template <class Map>
  Row by_value(const op::Operation& o, const Map& map) const {
    Row y;
    for (float x : values_.at(o.inputs[0])) y.push_back(map(x));
    return y;
  }
  Row floats_of(uint32_t weight, uint64_t r = 0) const {
    return weight == op::none ? Row() : contract::decoded(program_.weights[weight], r);
  }

  Row result(const op::Operation& o, const op::Embed& p) const {
    Row y;
    for (size_t t = 0; t < tokens_->ids.size(); ++t) {
      const Row one =
          floats_of(o.weight, p.of_position ? tokens_->positions[t] : uint32_t(tokens_->ids[t]));
      y.insert(y.end(), one.begin(), one.end());
    }
    return y;
  }
  static float total(const Row& x) {
    Row lanes(32, 0.0f);
    for (size_t i = 0; i < x.size(); ++i) lanes[i % 32] = lanes[i % 32] + x[i];
    return contract::tree(lanes);
  }
  static float squares(const Row& x) {
    Row lanes(32, 0.0f);
    for (size_t i = 0; i < x.size(); ++i) lanes[i % 32] = std::fmaf(x[i], x[i], lanes[i % 32]);
    return contract::tree(lanes);
  }
  /// finish(a part of a row, the number of its first value) of each part.
  template <class Make>
  Row by_part(const op::Operation& o, uint32_t parts, const Make& make) const {
    return by_row(o, [&](const Row& x, uint64_t) {
      Row y;
      const size_t n = x.size() / parts;
      for (size_t first = 0; first < x.size(); first += n) {
        const Row part =
            make(Row(x.begin() + ptrdiff_t(first), x.begin() + ptrdiff_t(first + n)), first);
        y.insert(y.end(), part.begin(), part.end());
      }
      return y;
    });
  }
  Row result(const op::Operation& o, const op::RmsNorm& p) const {
    const Row w = floats_of(o.weight);
    return by_part(o, p.parts, [&](Row x, size_t first) {
      const float r = k_inverse_rms(squares(x), float(x.size()), p.eps);
      for (size_t i = 0; i < x.size(); ++i)
        x[i] = k_floor_tiny(x[i] * r * w[(first + i) % w.size()]);
      return x;
    });
  }
  Row result(const op::Operation& o, const op::LayerNorm& p) const {
    const Row w = floats_of(o.weight), b = floats_of(o.bias);
    return by_part(o, p.parts, [&](Row x, size_t first) {
      const float n = float(x.size()), mean = total(x) / n;
      for (float& value : x) value = value - mean;
      const float r = k_inverse_rms(squares(x), n, p.eps);
      for (size_t i = 0; i < x.size(); ++i) {
        x[i] = x[i] * r * w[(first + i) % w.size()];
        if (!b.empty()) x[i] = x[i] + b[(first + i) % b.size()];
        x[i] = k_floor_tiny(x[i]);
      }
      return x;
    });
  }
  /// Rows first … last − 1 of a weight times x.
  static Row product(const op::Weight& weight, uint64_t first, uint64_t last, const Row& x,
                     const Row& bias) {
    Row y;
    const bool blocks = quant::info(weight.type).block_size > 1;
    const contract::Row codes = blocks ? contract::quantise(x) : contract::Row();
    for (uint64_t r = first; r < last; ++r) {
      const float dot = blocks ? contract::dot(weight, r, codes)
                               : contract::dot_f32(contract::decoded(weight, r), x.data());
      y.push_back(bias.empty() ? dot : dot + bias[r - first]);
    }
    return y;
  }
  Row result(const op::Operation& o, const op::Matmul&) const {
    const op::Weight& weight = program_.weights[o.weight];
    return by_row(o, [&](const Row& x, uint64_t) {
      return product(weight, 0, weight.rows, x, floats_of(o.bias));
    });
  }
  Row result(const op::Operation& o, const op::Rope& p) const {
    const op::RopeTable& table = program_.rope_tables[p.table];
    return by_row(o, [&](const Row& x, uint64_t t) {
      Row turns(table.dimensions), y;
      op::rope_row(table, tokens_->positions[t], turns);
      const auto dim = ptrdiff_t(x.size() / p.heads);
      for (auto head = x.begin(); head < x.end(); head += dim) {
        const Row part = contract::rope({head, head + dim}, turns, table.adjacent);
        y.insert(y.end(), part.begin(), part.end());
      }
      return y;
    });
  }
  Row result(const op::Operation& o, const op::KvStore& p) {
    const auto half = [](Row x) {
      for (float& value : x) value = k_f16_to_f32(k_f32_to_f16(value));
      return x;
    };
    Row keys = half(values_.at(o.inputs[0])), values = half(values_.at(o.inputs[1]));
    const op::CacheShape& shape = program_.caches[p.cache];
    const auto key_width = ptrdiff_t(shape.kv_heads * shape.key_dim);
    const auto value_width = ptrdiff_t(shape.kv_heads * shape.value_dim);
    for (size_t t = 0; t < tokens_->ids.size(); ++t) {
      Held& held = caches_[{p.cache, tokens_->sequences[t]}];
      const uint32_t position = tokens_->positions[t];
      held.keys.resize(position + 1), held.values.resize(position + 1);
      const auto key = keys.begin() + ptrdiff_t(t) * key_width;
      const auto value = values.begin() + ptrdiff_t(t) * value_width;
      held.keys[position].assign(key, key + key_width);
      held.values[position].assign(value, value + value_width);
    }
    keys.insert(keys.end(), values.begin(), values.end());
    return keys;
  }

  /// A head of one query: (max, sum, output) over the chunks, then the sink.
  Row attend(const op::AttentionShape& a, const Row& query, uint32_t head, uint32_t position,
             const Held& held, const float* sink) const {
    const uint32_t first = a.first_key(position), kv = head / (a.heads / a.kv_heads);
    const float slope = op::alibi_slope(a.alibi, head, a.heads);
    float max = 0, sum = 0;
    Row o(a.value_dim);
    for (uint32_t chunk = first / 64; chunk <= position / 64; ++chunk) {
      const uint32_t begin = std::max(first, chunk * 64), end = std::min(position, chunk * 64 + 63);
      Row scores, lanes(32, 0.0f), part(a.value_dim, 0.0f);
      for (uint32_t j = begin; j <= end; ++j) {
        float s = 0;
        for (uint32_t d = 0; d < a.key_dim; ++d)
          s = std::fmaf(query[head * a.key_dim + d], held.keys[j][kv * a.key_dim + d], s);
        s = s * a.scale;
        if (a.soft_cap != 0) s = soft_cap<OneLane>(s, a.soft_cap);
        if (a.alibi != 0) s = std::fmaf(-slope, float(position - j), s);
        scores.push_back(s);
      }
      const float m = *std::ranges::max_element(scores);
      for (uint32_t j = begin; j <= end; ++j) {
        const float p = k_exp(scores[j - begin] - m);
        lanes[j % 32] = lanes[j % 32] + p;
        for (uint32_t d = 0; d < a.value_dim; ++d)
          part[d] = std::fmaf(p, held.values[j][kv * a.value_dim + d], part[d]);
      }
      const float l = contract::tree(lanes);
      if (chunk == first / 64) {
        max = m, sum = l, o = part;
        continue;
      }
      const float now = std::max(max, m), before = k_exp(max - now), here = k_exp(m - now);
      max = now;
      sum = std::fmaf(sum, before, l * here);
      for (uint32_t d = 0; d < a.value_dim; ++d)
        o[d] = k_floor_tiny(std::fmaf(o[d], before, k_floor_tiny(part[d] * here)));
    }
    if (sink) {
      const float now = std::max(max, *sink), left = k_exp(max - now);
      sum = std::fmaf(sum, left, k_exp(*sink - now));
      for (float& value : o) value = k_floor_tiny(value * left);
    }
    for (float& value : o) value = k_floor_tiny(value / sum);
    return o;
  }
  Row result(const op::Operation& o, const op::Attend& p) const {
    const op::AttentionShape a = program_.attention_of(o);
    const Row sinks = floats_of(o.weight);
    return by_row(o, [&](const Row& query, uint64_t t) {
      Row y;
      const Held& held = caches_.at({p.cache, tokens_->sequences[t]});
      for (uint32_t head = 0; head < a.heads; ++head) {
        const Row part = attend(a, query, head, tokens_->positions[t], held,
                                sinks.empty() ? nullptr : &sinks[head]);
        y.insert(y.end(), part.begin(), part.end());
      }
      return y;
    });
  }

  Row result(const op::Operation& o, const op::Gate& p) const {
    const Row &gate = values_.at(o.inputs[0]), &up = values_.at(o.inputs[1]);
    const auto number = uint32_t(p.activation);
    Row y;
    for (size_t i = 0; i < up.size(); ++i)
      y.push_back(k_floor_tiny(activate<OneLane>(number, gate[i / (up.size() / gate.size())]) *
                               gate_factor<OneLane>(number, up[i])));
    return y;
  }
  Row result(const op::Operation& o, const op::Activate& p) const {
    return by_value(
        o, [&](float x) { return k_floor_tiny(activate<OneLane>(uint32_t(p.activation), x)); });
  }
  Row result(const op::Operation& o, const op::Xielu& p) const {
    return by_value(o, [&](float x) {
      return k_floor_tiny(xielu<OneLane>(x, p.alpha_p, p.alpha_n, p.beta, p.eps));
    });
  }
  Row result(const op::Operation& o, const op::Add&) const {
    Row y = values_.at(o.inputs[0]);
    for (size_t i = 0; i < y.size(); ++i) y[i] = y[i] + values_.at(o.inputs[1])[i];
    return y;
  }
  Row result(const op::Operation& o, const op::Scale& p) const {
    const Row b = floats_of(o.bias);
    return by_row(o, [&](Row x, uint64_t) {
      for (size_t i = 0; i < x.size(); ++i) {
        x[i] = x[i] * p.factor;
        if (!b.empty()) x[i] = x[i] + b[i];
      }
      return x;
    });
  }
  Row result(const op::Operation& o, const op::SoftCap& p) const {
    return by_value(o, [&](float x) { return k_floor_tiny(soft_cap<OneLane>(x, p.cap)); });
  }
  Row result(const op::Operation& o, const op::Clamp& p) const {
    return by_value(o, [&](float x) { return x < p.low ? p.low : x > p.high ? p.high : x; });
  }
  Row result(const op::Operation& o, const op::PositionScale& p) const {
    return by_row(o, [&](Row x, uint64_t t) {
      float factor = 0;
      op::rope_row(program_.rope_tables[p.table], tokens_->positions[t], {&factor, 1});
      for (float& value : x) value = k_floor_tiny(value * factor);
      return x;
    });
  }
  Row result(const op::Operation& o, const op::Slice& p) const {
    return by_part(o, p.parts, [&](const Row& x, size_t) {
      return Row(x.begin() + p.first, x.begin() + p.first + p.width);
    });
  }

  /// The indices of the `count` highest, highest first, of equals the lower first.
  static std::vector<uint32_t> best(const Row& values, size_t count) {
    std::vector<uint32_t> order(values.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::stable_sort(order, [&](uint32_t a, uint32_t b) { return values[a] > values[b]; });
    order.resize(count);
    return order;
  }
  static Row softmax(Row x) {
    float m = -INFINITY, sum = 0;
    for (float value : x) m = std::max(m, value);
    for (float& value : x) value = k_exp(value - m);
    for (float value : x) sum = sum + value;
    for (float& value : x) value = value / sum;
    return x;
  }
  Row result(const op::Operation& o, const op::Route& p) const {
    const Row b = floats_of(o.bias);
    return by_row(o, [&](const Row& x, uint64_t) {
      Row probability = x, lanes(32, 0.0f);
      float m = -INFINITY;
      for (float value : x) m = value > m ? value : m;
      for (size_t i = 0; i < x.size(); ++i) {
        probability[i] = p.sigmoid ? sigmoid<OneLane>(x[i]) : k_exp(x[i] - m);
        lanes[i % 32] = lanes[i % 32] + probability[i];
      }
      if (!p.sigmoid) {
        const float sum = contract::tree(lanes);
        for (float& value : probability) value = value / sum;
      }
      Row choice = x;
      for (size_t i = 0; i < x.size(); ++i) {
        if (!b.empty()) choice[i] = probability[i] + b[i];
        if (std::isnan(choice[i])) choice[i] = INFINITY;
      }
      const size_t size = x.size() / p.groups;
      Row of_groups;
      for (size_t g = 0; g < p.groups; ++g) {
        const Row group(choice.begin() + ptrdiff_t(g * size),
                        choice.begin() + ptrdiff_t(g * size + size));
        const auto top = best(group, p.by_two ? 2 : 1);
        of_groups.push_back(p.by_two ? group[top[0]] + group[top[1]] : group[top[0]]);
      }
      const auto groups = best(of_groups, p.used_groups);
      std::vector<uint32_t> ids;
      for (uint32_t id : best(choice, choice.size()))
        if (ids.size() < p.used && std::ranges::count(groups, id / size)) ids.push_back(id);
      Row w;
      for (uint32_t id : ids) w.push_back(p.of_chosen ? x[id] : probability[id]);
      if (p.of_chosen) w = softmax(w);
      float sum = w[0];
      for (size_t u = 1; u < w.size(); ++u) sum = sum + w[u];
      Row y(ids.begin(), ids.end());
      for (float value : w) {
        if (p.renormalise) value = value / (sum < 0x1p-72f ? 0x1p-72f : sum);
        if (p.scale != 1) value = value * p.scale;
        y.push_back(k_floor_tiny(value));
      }
      return y;
    });
  }

  struct Routed {
    Row ids, weights;
    /// count: no expert.
    uint64_t expert(size_t slot, uint64_t count) const {
      return ids[slot] >= 0 && ids[slot] < float(count) ? uint64_t(ids[slot]) : count;
    }
  };
  Routed routed(const op::Operation& o, uint64_t t) const {
    const Row all = row(o.inputs[1], t);
    const auto middle = all.begin() + ptrdiff_t(all.size() / 2);
    return {{all.begin(), middle}, {middle, all.end()}};
  }
  Row result(const op::Operation& o, const op::MatmulExperts& p) const {
    const op::Weight& weight = program_.weights[o.weight];
    const uint64_t each = weight.rows / p.experts;
    return by_row(o, [&](const Row& x, uint64_t t) {
      const Routed routing = routed(o, t);
      Row y;
      for (size_t u = 0; u < routing.ids.size(); ++u) {
        const uint64_t e = routing.expert(u, p.experts);
        const size_t from = x.size() == weight.columns ? 0 : u * weight.columns;
        const Row own(x.begin() + ptrdiff_t(from), x.begin() + ptrdiff_t(from + weight.columns));
        const Row part = e == p.experts
                             ? Row(each, NAN)
                             : product(weight, e * each, (e + 1) * each, own, floats_of(o.bias, e));
        y.insert(y.end(), part.begin(), part.end());
      }
      return y;
    });
  }
  Row result(const op::Operation& o, const op::ScaleExperts&) const {
    const Row w = floats_of(o.weight);
    return by_row(o, [&](Row x, uint64_t t) {
      const Routed routing = routed(o, t);
      const size_t each = x.size() / routing.ids.size();
      for (size_t i = 0; i < x.size(); ++i) {
        const uint64_t e = routing.expert(i / each, w.size());
        x[i] = e == w.size() ? NAN : x[i] * w[e];
        if (e < w.size() && o.bias != op::none) x[i] = x[i] + floats_of(o.bias, e)[i % each];
      }
      return x;
    });
  }
  Row result(const op::Operation& o, const op::SpreadExperts&) const {
    return by_row(o, [&](const Row& x, uint64_t t) {
      Row y;
      for (float weight : routed(o, t).weights)
        for (float value : x) y.push_back(k_floor_tiny(value * weight));
      return y;
    });
  }
  Row result(const op::Operation& o, const op::MixExperts& p) const {
    return by_row(o, [&](const Row& x, uint64_t t) {
      const Row w = routed(o, t).weights;
      const size_t each = x.size() / w.size();
      Row y;
      for (size_t i = 0; i < each; ++i) {
        float v = p.weighted ? x[i] * w[0] : x[i];
        for (size_t u = 1; u < w.size(); ++u)
          v = p.weighted ? std::fmaf(x[u * each + i], w[u], v) : v + x[u * each + i];
        y.push_back(k_floor_tiny(v));
      }
      return y;
    });
  }
  Row result(const op::Operation& o, const op::SelectRows&) const {
    Row y;
    for (uint32_t r : tokens_->selected) {
      const Row one = row(o.inputs[0], r);
      y.insert(y.end(), one.begin(), one.end());
    }
    return y;
  }

  const op::Program& program_;
  const Tokens* tokens_ = nullptr;
  std::map<uint32_t, Row> values_;                        // of this step
  std::map<std::pair<uint32_t, uint32_t>, Held> caches_;  // by cache and sequence
};

/// A step: so many new tokens of each sequence.
using Counts = std::vector<uint32_t>;

inline std::vector<Tokens> steps_of(const std::vector<Counts>& cuts) {
  std::vector<Tokens> steps;
  std::vector<uint32_t> positions(8, 0);
  for (const Counts& counts : cuts) {
    Tokens& tokens = steps.emplace_back();
    for (uint32_t s = 0; s < counts.size(); ++s)
      for (uint32_t i = 0; i < counts[s]; ++i, ++positions[s])
        tokens.add(token(positions[s], s), positions[s], s);
  }
  return steps;
}

/// Every value of a traced run is what the loops make of its inputs, and the last one has the same
/// bits where operations are fused and steps are recorded.
inline void expect_loops(const op::Program& program, const std::vector<Counts>& cuts,
                         const emulated::QueueOptions& queue = {},
                         WatchedQueue::Seen* seen = nullptr) {
  op::ExecutorOptions options = options_with(1);
  options.context = options.batch = 704;
  const auto traced = emulated_executor(program, options, queue, seen);
  const auto fused = emulated_executor(program, options, queue, seen);
  Loops loops(program);
  uint64_t step = 0;
  for (const Tokens& tokens : steps_of(cuts)) {
    const std::vector<float> want = logits_of(*traced, tokens, loops.sink(tokens));
    EXPECT_EQ(difference(logits_of(*fused, tokens), want), "") << "step " << step;
    ++step;
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_EQ(loops.seen, program.operations.size() * cuts.size());
}

}  // namespace assay::tests
