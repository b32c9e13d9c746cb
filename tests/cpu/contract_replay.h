// Replays the operations of a step from an executor's own values by the scalar contract: what each of
// them must give, bit for bit.
#pragma once

#include "contract.h"
#include "op/rope.h"
#include "tiny_program.h"

namespace assay::tests {

/// Of one step of sequence 0 that begins at position 0.
class ContractReplay {
 public:
  using Row = std::vector<float>;

  ContractReplay(const op::Program& program, const Tokens& tokens)
      : program_(program),
        tokens_(tokens),
        values_(program.values.size()),
        keys_(program.caches.size()),
        cached_values_(program.caches.size()) {}

  /// What the operation must give of the outputs kept so far.
  Row want(const op::Operation& operation) {
    if (const auto* store = operation.as<op::KvStore>()) return keep_cache(operation, *store);
    const bool selected = program_.values[operation.output].selected;
    const size_t rows = selected ? tokens_.selected.size() : tokens_.ids.size();
    Row all;
    for (size_t t = 0; t < rows; ++t) {
      const Row y = row_of(operation, operation.is<op::SelectRows>() ? tokens_.selected[t] : t);
      all.insert(all.end(), y.begin(), y.end());
    }
    return all;
  }
  void keep(const op::Operation& operation, std::span<const float> output) {
    if (operation.output != op::none)
      values_[operation.output].assign(output.begin(), output.end());
  }

 private:
  static Row part(const Row& row, size_t first, size_t count) {
    return {row.begin() + ptrdiff_t(first), row.begin() + ptrdiff_t(first + count)};
  }
  Row in(const op::Operation& o, size_t input, size_t t) const {
    const uint32_t width = program_.values[o.inputs[input]].width;
    return part(values_[o.inputs[input]], t * width, width);
  }
  Row decoded(uint32_t weight, uint64_t row = 0) const {
    return weight == op::none ? Row() : contract::decoded(program_.weights[weight], row);
  }

  /// function(x, weight, bias) for each of the equal parts of a row, one after another.
  template <class Function>
  static Row by_parts(const Row& x, size_t parts, const Row& w, const Row& b, Function function) {
    const size_t n = x.size() / parts;
    Row all;
    for (size_t i = 0; i < parts; ++i) {
      const size_t first = w.size() == x.size() ? i * n : 0;
      const Row y =
          function(part(x, i * n, n), part(w, first, n), b.empty() ? b : part(b, first, n));
      all.insert(all.end(), y.begin(), y.end());
    }
    return all;
  }

  /// Rows first … first + count − 1 of a weight times x, plus bias.
  Row multiply(const op::Weight& weight, uint64_t first, uint64_t count, const Row& x,
               const Row& bias) const {
    const bool blocks = quant::info(weight.type).block_size > 1;
    const contract::Row quantised = blocks ? contract::quantise(x) : contract::Row();
    Row y;
    for (uint64_t r = 0; r < count; ++r) {
      const float sum = blocks ? contract::dot(weight, first + r, quantised)
                               : contract::dot_f32(contract::decoded(weight, first + r), x.data());
      y.push_back(bias.empty() ? sum : sum + bias[r]);
    }
    return y;
  }

  /// function(id, slot) for each chosen expert, one after another.
  template <class Function>
  static Row by_slot(const Row& routing, Function function) {
    Row all;
    for (size_t slot = 0; slot < routing.size() / 2; ++slot) {
      const Row y = function(uint64_t(routing[slot]), slot);
      all.insert(all.end(), y.begin(), y.end());
    }
    return all;
  }
  static Row times(Row x, float factor, const Row& bias, bool floors) {
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = bias.empty() ? x[i] * factor : x[i] * factor + bias[i];
      if (floors) x[i] = k_floor_tiny(x[i]);
    }
    return x;
  }
  template <class Function>
  static Row each(Row x, Function function) {
    for (float& value : x) value = k_floor_tiny(function(value));
    return x;
  }

  Row attend(const op::Operation& o, const op::Attend& p, const Row& q, uint32_t position) const {
    const op::AttentionShape a = program_.attention_of(o);
    const Row sinks = decoded(o.weight);
    Row all;
    for (uint32_t head = 0; head < a.heads; ++head) {
      const uint32_t kv_head = head / (a.heads / a.kv_heads);
      Row keys, values;
      for (uint64_t j = 0; j <= position; ++j) {
        const Row k = part(keys_[p.cache], (j * a.kv_heads + kv_head) * a.key_dim, a.key_dim);
        const Row v =
            part(cached_values_[p.cache], (j * a.kv_heads + kv_head) * a.value_dim, a.value_dim);
        keys.insert(keys.end(), k.begin(), k.end());
        values.insert(values.end(), v.begin(), v.end());
      }
      const Row y = contract::attention(
          part(q, head * a.key_dim, a.key_dim), keys, values, a.scale,
          {.first = a.first_key(position),
           .soft_cap = a.soft_cap,
           .slope = op::alibi_slope(a.alibi, head, a.heads),
           .sink = sinks.empty() ? std::optional<float>() : std::optional(sinks[head])});
      all.insert(all.end(), y.begin(), y.end());
    }
    return all;
  }

  Row keep_cache(const op::Operation& o, const op::KvStore& store) {
    Row both;
    for (const size_t input : {0u, 1u}) {
      Row& side = input == 0 ? keys_[store.cache] : cached_values_[store.cache];
      side.clear();
      for (const float x : values_[o.inputs[input]]) side.push_back(k_f16_to_f32(k_f32_to_f16(x)));
      both.insert(both.end(), side.begin(), side.end());
    }
    return both;
  }

  Row turn(const op::Rope& p, const Row& x, uint32_t position) const {
    const op::RopeTable& rope = program_.rope_tables[p.table];
    Row table(rope.dimensions);
    op::rope_row(rope, position, table);
    return by_parts(x, p.heads, x, {}, [&](const Row& head, const Row&, const Row&) {
      return contract::rope(head, table, rope.adjacent);
    });
  }

  Row row_of(const op::Operation& o, size_t t) const {
    const uint32_t position = tokens_.positions[t];
    const auto x = [&] { return in(o, 0, t); };
    return op::visit(
        o,
        [&](const op::Embed& p) {
          return decoded(o.weight, p.of_position ? position : uint64_t(tokens_.ids[t]));
        },
        [&](const op::RmsNorm& p) {
          return by_parts(x(), p.parts, decoded(o.weight), {},
                          [&](const Row& part, const Row& w, const Row&) {
                            return contract::rms_norm(part, w, p.eps);
                          });
        },
        [&](const op::LayerNorm& p) {
          return by_parts(x(), p.parts, decoded(o.weight), decoded(o.bias),
                          [&](const Row& part, const Row& w, const Row& b) {
                            return contract::layer_norm(part, w, b, p.eps);
                          });
        },
        [&](const op::Matmul&) {
          const op::Weight& weight = program_.weights[o.weight];
          return multiply(weight, 0, weight.rows, x(), decoded(o.bias));
        },
        [&](const op::Rope& p) { return turn(p, x(), position); },
        [&](const op::Attend& p) { return attend(o, p, x(), position); },
        [&](const op::Gate& p) {
          const Row g = x();
          Row y = in(o, 1, t);
          const size_t repeat = y.size() / g.size();
          for (size_t i = 0; i < y.size(); ++i)
            y[i] = contract::gate(uint32_t(p.activation), g[i / repeat], y[i]);
          return y;
        },
        [&](const op::Activate& p) {
          return each(x(),
                      [&](float v) { return assay::activate<OneLane>(uint32_t(p.activation), v); });
        },
        [&](const op::Xielu& p) {
          return each(x(), [&](float v) {
            return assay::xielu<OneLane>(v, p.alpha_p, p.alpha_n, p.beta, p.eps);
          });
        },
        [&](const op::Add&) {
          Row y = x();
          const Row second = in(o, 1, t);
          for (size_t i = 0; i < y.size(); ++i) y[i] = y[i] + second[i];
          return y;
        },
        [&](const op::Scale& p) { return times(x(), p.factor, decoded(o.bias), false); },
        [&](const op::SoftCap& p) {
          return each(x(), [&](float v) { return contract::soft_cap(v, p.cap); });
        },
        [&](const op::Clamp& p) {
          Row y = x();
          for (float& v : y) v = v < p.low ? p.low : v > p.high ? p.high : v;
          return y;
        },
        [&](const op::PositionScale& p) {
          float factor = 0;
          op::rope_row(program_.rope_tables[p.table], position, {&factor, 1});
          return times(x(), factor, {}, true);
        },
        [&](const op::Slice& p) {
          const Row all = x();
          Row y;
          for (size_t i = 0; i < p.parts; ++i)
            for (size_t c = 0; c < p.width; ++c)
              y.push_back(all[i * (all.size() / p.parts) + p.first + c]);
          return y;
        },
        [&](const op::Route& p) { return contract::route(x(), decoded(o.bias), p); },
        [&](const op::MatmulExperts& p) {
          const op::Weight& weight = program_.weights[o.weight];
          const uint64_t rows = weight.rows / p.experts;
          const Row all = x();
          return by_slot(in(o, 1, t), [&](uint64_t id, size_t slot) {
            const Row one = all.size() == weight.columns
                                ? all
                                : part(all, slot * weight.columns, weight.columns);
            return multiply(weight, id * rows, rows, one,
                            o.bias == op::none ? Row() : decoded(o.bias, id));
          });
        },
        [&](const op::ScaleExperts&) {
          const Row all = x(), factors = decoded(o.weight), routing = in(o, 1, t);
          const size_t n = all.size() / (routing.size() / 2);
          return by_slot(routing, [&](uint64_t id, size_t slot) {
            return times(part(all, slot * n, n), factors[id],
                         o.bias == op::none ? Row() : decoded(o.bias, id), false);
          });
        },
        [&](const op::SpreadExperts&) {
          const Row routing = in(o, 1, t);
          return by_slot(routing, [&](uint64_t, size_t slot) {
            return times(x(), routing[routing.size() / 2 + slot], {}, true);
          });
        },
        [&](const op::MixExperts& p) {
          const Row routing = in(o, 1, t);
          const size_t used = routing.size() / 2;
          return contract::mix(x(), p.weighted ? part(routing, used, used) : Row(), used);
        },
        [&](const op::SelectRows&) { return x(); },  //
        [&](const op::KvStore&) { return Row(); });
  }

  const op::Program& program_;
  const Tokens& tokens_;
  std::vector<Row> values_;                // by index of value
  std::vector<Row> keys_, cached_values_;  // by cache: what is stored, as f32
};

}  // namespace assay::tests
