#include "fault/executor.h"

#include <algorithm>
#include <cassert>
#include <utility>
#include <vector>

#include "fault/attention.h"
#include "fault/experts.h"
#include "fault/list.h"
#include "fault/matrix.h"
#include "fault/operations.h"
#include "lang/math.h"
#include "op/paging.h"
#include "quant/formats.h"

namespace assay::fault {

namespace {

Floats decode_row(const op::Weight& weight, uint64_t row) {
  Floats values(weight.columns);
  quant::decode_row(weight.type, weight.row(row), values);
  return values;
}

void keep_as_f16(std::span<float> values) {
  for (float& x : values) x = k_f16_to_f32(k_f32_to_f16(x));
}

class FaultExecutor final : public op::Executor {
 public:
  FaultExecutor(const op::Program& program, const op::ExecutorOptions& options,
                std::optional<Fault> fault, Device device)
      : program_(program),
        device_(std::move(device)),
        options_(options),
        fault_(std::move(fault)),
        values_(program.values.size()),
        paging_(options, program.windows),
        held_(options.sequences, std::vector<uint32_t>(program.caches.size(), 0)),
        graph_keys_(options.sequences, 0) {
    assert(options.contract != op::Contract::exact);
    for (uint32_t i = 0; i < program.caches.size(); ++i) {
      const size_t rows = size_t(op::pages_of(options, program.window_of(i))) * op::page_positions;
      pools_.push_back({std::vector<Floats>(rows), std::vector<Floats>(rows)});
    }
    for (const op::Operation& o : program.operations) {
      active_.push_back(fault_ && fault_->applies(program, o) ? Active{fault_->bug, fault_->value}
                                                              : Active{});
      matrices_.push_back(matrices_of(o, active_.back()));
    }
  }

  std::span<const float> run(const op::Step& given, const op::Sink& sink) override {
    const op::Step step = paging_.resolve(given);
    begin(step);
    const auto keep = [&](const op::Operation& o, Floats result) {
      if (sink) sink(o, result);
      if (o.output != op::none) values_[o.output] = std::move(result);
    };
    const auto own = [&](size_t i) {
      Floats result = compute(i, step);
      if (active_[i].is(Bug::f16_overflow)) keep_as_f16(result);
      return result;
    };
    if (device_.executor)
      device_.executor->run(given, [&](const op::Operation& o, std::span<const float> output) {
        const auto i = size_t(&o - program_.operations.data());
        // What the cache holds is followed here, too.
        Floats result = follows(i) ? own(i) : Floats(output.begin(), output.end());
        if (replaces(i)) {
          const std::span bytes(reinterpret_cast<const uint8_t*>(result.data()),
                                result.size() * sizeof(float));
          if (const Status done = device_.queue->overwrite(bytes); !done)
            throw op::DeviceFailure(done.error());
        }
        keep(o, std::move(result));
      });
    else
      for (size_t i = 0; i < program_.operations.size(); ++i) keep(program_.operations[i], own(i));
    previous_tokens_.assign(step.tokens.begin(), step.tokens.end());
    return values_[program_.operations.back().output];
  }

  void truncate(uint32_t sequence, uint32_t position) override {
    if (device_.executor) device_.executor->truncate(sequence, position);
    for (uint32_t& held : held_[sequence]) held = std::min(held, position);
  }
  std::string device() const override {
    return device_.executor ? device_.executor->device() : "fault";
  }
  std::string isa() const override { return device_.executor ? device_.executor->isa() : ""; }
  std::string contract() const override {
    const bool whole = fault_ && fault_->bug == Bug::contract_f32 && fault_->at.empty() &&
                       fault_->layer == op::none;
    return std::string(options_.contract == op::Contract::f32 || whole ? "f32" : "assay/1") +
           (options_.cache == op::CacheType::f32 ? " kv=f32" : "");
  }
  uint32_t threads() const override { return 1; }

 private:
  /// Whether the result of an operation is computed here: its own fault, or a cache that has one.
  bool replaces(size_t i) const {
    const op::Operation& o = program_.operations[i];
    if (!active_[i].is(Bug::none)) return o.output != op::none;
    const auto* read = o.as<op::Attend>();
    if (!read) return false;
    for (size_t k = 0; k < active_.size(); ++k)
      if (const auto* written = program_.operations[k].as<op::KvStore>();
          written && written->cache == read->cache && !active_[k].is(Bug::none))
        return true;
    return false;
  }
  bool follows(size_t i) const { return replaces(i) || program_.operations[i].is<op::KvStore>(); }

  std::vector<Matrix> matrices_of(const op::Operation& o, Active fault) const {
    if (!op::multiplies(o)) return {};
    const auto* experts = o.as<op::MatmulExperts>();
    return parts_of(unpack(program_, o, fault), experts ? experts->experts : 1);
  }

  /// Tokens of t's sequence in the step before t, and in all of it.
  static uint32_t before(const op::Step& step, size_t t) {
    return uint32_t(
        std::count(step.sequences.begin(), step.sequences.begin() + int64_t(t), step.sequences[t]));
  }
  static bool decodes(const op::Step& step, size_t t) {
    return step.positions[t] > 0 &&
           std::count(step.sequences.begin(), step.sequences.end(), step.sequences[t]) == 1;
  }

  void begin(const op::Step& step) {
    bool decoding = true;
    for (size_t t = 0; t < step.tokens.size(); ++t) decoding = decoding && decodes(step, t);
    decode_steps_ = decoding ? decode_steps_ + 1 : 0;
    for (size_t t = 0; t < step.tokens.size() && decode_steps_ == 1; ++t)
      graph_keys_[step.sequences[t]] = step.positions[t] + 1;
  }

  Place place_of(const op::Step& step, size_t t) const {
    return {step.positions[t], decodes(step, t),
            decode_steps_ >= 2 ? graph_keys_[step.sequences[t]] : 0};
  }

  uint64_t width(uint32_t value) const { return program_.values[value].width; }
  size_t rows(const op::Operation& o, const op::Step& step) const {
    return program_.values[o.output].selected ? step.selected.size() : step.tokens.size();
  }
  std::span<const float> row(uint32_t value, size_t t) const {
    return std::span(values_[value]).subspan(t * width(value), width(value));
  }
  Floats weight(const op::Operation& o) const {
    return o.weight == op::none ? Floats() : decode_row(program_.weights[o.weight], 0);
  }
  /// All rows of it.
  Floats bias(const op::Operation& o) const {
    Floats all;
    if (o.bias == op::none) return all;
    for (uint64_t row = 0; row < program_.weights[o.bias].rows; ++row) {
      const Floats one = decode_row(program_.weights[o.bias], row);
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }
  /// Whether the contract quantises the activations that meet a weight.
  bool quantises(uint32_t weight) const {
    return options_.contract == op::Contract::assay1 &&
           quant::info(program_.weights[weight].type).block_size > 1;
  }

  Floats compute(size_t index, const op::Step& step) {
    const op::Operation& o = program_.operations[index];
    const Active fault = active_[index];
    const auto by_row = [&](const auto& one_row) {
      Floats result;
      for (size_t t = 0; t < rows(o, step); ++t) {
        const Floats y = one_row(t);
        result.insert(result.end(), y.begin(), y.end());
      }
      return result;
    };
    const auto x = [&](size_t t) { return row(o.inputs[0], t); };
    const auto second = [&](size_t t) { return row(o.inputs[1], t); };
    return op::visit(
        o,  //
        [&](const op::Embed&) {
          return by_row([&](size_t t) { return embed(o, step, t, fault); });
        },
        [&](const op::RmsNorm& p) {
          return norm(o, {p.eps, p.parts, false, {}}, step, fault);
        },
        [&](const op::LayerNorm& p) {
          return norm(o, {p.eps, p.parts, true, {}}, step, fault);
        },
        [&](const op::Matmul&) {
          // The matrix that is read decides how its input is coded.
          const uint32_t read =
              fault.is(Bug::weight_tied_head) ? program_.operations[0].weight : o.weight;
          const Floats added = fault.is(Bug::bias_missing) ? Floats() : bias(o);
          return multiply(matrices_[index][0], added, values_[o.inputs[0]], quantises(read), fault);
        },
        [&](const op::Rope& p) {
          const uint32_t read = fault.is(Bug::rope_table) ? other_table(program_, o) : p.table;
          const op::RopeTable table = read_rope(program_.rope_tables[read], fault);
          return by_row([&](size_t t) {
            return turn(x(t), table, p.heads, rotation(step, t, fault), fault);
          });
        },
        [&](const op::KvStore& p) { return store(o, p, step, fault); },
        [&](const op::Attend& p) {
          const Floats sinks = weight(o);
          return by_row([&](size_t t) {
            return attend(x(t), cache_of(p.cache, step, t), place_of(step, t),
                          program_.attention_of(o), sinks, fault);
          });
        },
        [&](const op::Gate& p) {
          return by_row([&](size_t t) { return gated(p.activation, x(t), second(t), fault); });
        },
        [&](const op::Add&) {
          return by_row(
              [&](size_t t) { return add(row(residual(o, fault), t), second(t), fault); });
        },
        [&](const op::Scale& p) {
          const Floats b = bias(o);
          return by_row([&](size_t t) { return scaled(x(t), p.factor, b, fault); });
        },
        [&](const op::Activate& p) {
          return by_row([&](size_t t) { return activated(p.activation, x(t), fault); });
        },
        [&](const op::Xielu& p) {
          return by_row([&](size_t t) { return xielu_of(p, x(t), fault); });
        },
        [&](const op::SoftCap& p) {
          return by_row([&](size_t t) { return capped(p, x(t), fault); });
        },
        [&](const op::Clamp& p) {
          return by_row([&](size_t t) { return clamped(p, x(t), fault); });
        },
        [&](const op::PositionScale& p) {
          return by_row([&](size_t t) {
            return position_scaled(x(t), program_.rope_tables[p.table], step.positions[t], fault);
          });
        },
        [&](const op::Slice& p) { return by_row([&](size_t t) { return sliced(p, x(t)); }); },
        [&](const op::Route& p) {
          const Floats b = bias(o);
          return by_row([&](size_t t) { return route(x(t), b, p, fault); });
        },
        [&](const op::MatmulExperts&) {
          return multiply_experts(matrices_[index], bias(o), values_[o.inputs[0]],
                                  values_[o.inputs[1]], rows(o, step), quantises(o.weight), fault);
        },
        [&](const op::ScaleExperts&) {
          const Floats w = weight(o), b = bias(o);
          return by_row([&](size_t t) { return scale_experts(x(t), second(t), w, b, fault); });
        },
        [&](const op::SpreadExperts&) {
          return by_row([&](size_t t) { return spread_experts(x(t), second(t), fault); });
        },
        [&](const op::MixExperts& p) {
          return by_row([&](size_t t) { return mix_experts(x(t), second(t), p, fault); });
        },
        [&](const op::SelectRows&) {
          return by_row([&](size_t t) {
            const auto chosen = x(step.selected[t]);
            return Floats(chosen.begin(), chosen.end());
          });
        });
  }

  Cache cache_of(uint32_t cache, const op::Step& step, size_t t) {
    const uint32_t sequence = step.sequences[t];
    return {pools_[cache], step.pages.row(sequence, program_.group_of(cache)),
            held_[sequence][cache]};
  }

  Floats embed(const op::Operation& o, const op::Step& step, size_t t, Active fault) const {
    int32_t token = step.tokens[t];
    if (fault.is(Bug::stale_input) && decode_steps_ >= 2 && t < previous_tokens_.size())
      token = previous_tokens_[t];
    uint64_t row = uint64_t(token);
    if (o.as<op::Embed>()->of_position) row = step.positions[t];
    if (fault.is(Bug::table_shifted)) {
      const uint64_t last = program_.weights[o.weight].rows - 1;
      row = std::min(row + uint64_t(fault.value), last);
    }
    Floats y = decode_row(program_.weights[o.weight], row);
    if (fault.is(Bug::embedding_scale))
      for (float& x : y) x *= float(fault.value);
    return y;
  }

  /// The position by which a token's queries and keys turn.
  static uint32_t rotation(const op::Step& step, size_t t, Active fault) {
    const uint32_t position = step.positions[t];
    switch (fault.bug) {
      case Bug::position_stuck:
        return position - before(step, t);
      case Bug::position_restarts:
        return before(step, t);
      case Bug::position_stale:
        return decodes(step, t) ? position - 1 : position;
      case Bug::position_off_by_one:
        return position + 1;
      case Bug::position_shifted:
        return position + uint32_t(fault.value);
      default:
        return position;
    }
  }

  /// The value that a branch is added to.
  uint32_t residual(const op::Operation& o, Active fault) const {
    if (fault.is(Bug::residual_after_norm)) return normalised_residual(program_, o);
    if (fault.is(Bug::residual_parallel)) return earlier_residual(program_, o);
    return o.inputs[0];
  }

  Floats norm(const op::Operation& o, Norm of, const op::Step& step, Active fault) const {
    const Floats w = weight(o), b = bias(o);
    of.weight = w;
    of.bias = b;
    Floats result;
    for (size_t t = 0; t < rows(o, step); ++t) {
      Floats y = normed(row(o.inputs[0], t), of, fault);
      if (fault.is(Bug::grid_limit) && t >= size_t(fault.value)) std::ranges::fill(y, 0.0f);
      result.insert(result.end(), y.begin(), y.end());
    }
    return result;
  }

  Floats store(const op::Operation& o, const op::KvStore& parameters, const op::Step& step,
               Active fault) {
    Floats kept[2] = {values_[o.inputs[0]], values_[o.inputs[1]]};
    if (fault.is(Bug::kv_exchanged)) std::swap(kept[0], kept[1]);
    if (fault.is(Bug::rope_added)) turn_keys(kept[0], parameters.cache, step);
    for (Floats& side : kept)
      if (options_.cache == op::CacheType::f16) keep_as_f16(side);
    const auto of = [&](size_t side, size_t t) {
      const auto first = kept[side].begin() + int64_t(t * width(o.inputs[side]));
      return Floats(first, first + int64_t(width(o.inputs[side])));
    };
    for (size_t t = 0; t < step.tokens.size(); ++t) {
      const bool late = fault.is(Bug::kv_slot) && decodes(step, t);
      cache_of(parameters.cache, step, t)
          .store(step.positions[t] - (late ? 1 : 0), of(0, t), of(1, t));
    }
    kept[0].insert(kept[0].end(), kept[1].begin(), kept[1].end());
    return kept[0];
  }

  /// The first table's RoPE, in a layer that has none.
  void turn_keys(Floats& keys, uint32_t cache, const op::Step& step) const {
    const size_t tokens = step.tokens.size(), key_width = keys.size() / tokens;
    for (size_t t = 0; t < tokens; ++t) {
      const auto key = std::span(keys).subspan(t * key_width, key_width);
      const Floats turned = turn(key, program_.rope_tables[0], program_.caches[cache].kv_heads,
                                 step.positions[t], {});
      std::ranges::copy(turned, key.begin());
    }
  }

  const op::Program& program_;
  Device device_;
  op::ExecutorOptions options_;
  std::optional<Fault> fault_;
  std::vector<Active> active_;                 // by operation
  std::vector<std::vector<Matrix>> matrices_;  // by operation, one for each expert
  std::vector<Floats> values_;
  const op::Paging paging_;
  std::vector<Pool> pools_;                  // by cache
  std::vector<std::vector<uint32_t>> held_;  // (sequences, caches): slots in use
  std::vector<int32_t> previous_tokens_;
  uint32_t decode_steps_ = 0;         // in a row, this one included
  std::vector<uint32_t> graph_keys_;  // by sequence: keys of the first decode step
};

}  // namespace

std::unique_ptr<op::Executor> make_executor(const op::Program& program,
                                            const op::ExecutorOptions& options,
                                            std::optional<Fault> fault, Device device) {
  return std::make_unique<FaultExecutor>(program, options, std::move(fault), std::move(device));
}

}  // namespace assay::fault
