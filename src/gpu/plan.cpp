#include "gpu/plan.h"

#include <algorithm>
#include <span>

#include "gpu/order.h"
#include "kernel/args.h"
#include "quant/formats.h"

namespace assay::gpu {

namespace {

using op::Operation;

/// Finds the fused forms by which operations produce and read their values, wherever these
/// operations are in the program; gpu/order.h says which may be brought together. One launch
/// computes a form, or a few, so a form also asks that no group of the launch writes a buffer that
/// another one still reads.
class Planner {
 public:
  /// `apart`: the gates that gate_up may not take.
  Planner(const op::Program& program, bool fused, const std::vector<uint32_t>& apart)
      : program_(program),
        fused_(fused),
        order_(program),
        readers_(program.values.size()),
        producer_(program.values.size(), op::none),
        form_of_(program.operations.size(), op::none) {
    for (uint32_t i = 0; i < program.operations.size(); ++i) {
      for (uint32_t input : at(i).inputs) readers_[input].push_back(i);
      if (at(i).output != op::none) producer_[at(i).output] = i;
    }
    if (fused) fuse(apart);
    put_in_order();
  }

  /// The gates of gate_up whose output is not in its slot any more when it is read.
  std::vector<uint32_t> lost() const {
    std::vector<uint32_t> lost;
    for (size_t k = 0; k < nodes_.size(); ++k)
      if (nodes_[k].form == Node::Form::gate_up && !only_read_quantised(k))
        lost.push_back(nodes_[k].operations[2]);
    return lost;
  }

  /// The nodes, with those that quantise and with their slots.
  std::vector<Node> plan() const {
    std::vector<Node> planned;
    uint32_t slot = 0, held = op::none;  // the slot that was written last, and the value in it
    Node grouped;                        // the routing whose places are listed
    const auto hold = [&](uint32_t value) {
      held = value;
      return slot = (slot + 1) % quantised_slots;
    };
    for (size_t k = 0; k < nodes_.size(); ++k) {
      Node node = nodes_[k];
      if (const uint32_t input = quantised_input(node); input != op::none && input != held)
        planned.push_back({.form = Node::Form::quantise, .value = input, .to = hold(input)});
      node.from = slot;
      if (const auto* p = at_first(node).as<op::MatmulExperts>()) {
        const uint32_t routing = at_first(node).inputs[1];
        if (grouped.value != routing || grouped.experts != p->experts) {
          grouped = {.form = Node::Form::group_experts, .value = routing, .experts = p->experts};
          planned.push_back(grouped);
        }
      }
      if (const uint32_t output = quantised_output(node); output != op::none) {
        node.to = hold(output);
        node.writes_quantised = node.form == Node::Form::plain;
        node.writes_value = node.form != Node::Form::plain || !only_read_quantised(k);
      }
      planned.push_back(node);
    }
    return planned;
  }

 private:
  const Operation& at(uint32_t i) const { return program_.operations[i]; }
  const Operation& at_first(const Node& node) const { return at(node.operations[0]); }
  template <class Parameters>
  bool is(uint32_t i) const {
    return i != op::none && at(i).is<Parameters>();
  }
  bool free(uint32_t i) const { return form_of_[i] == op::none; }
  uint32_t buffer(uint32_t value) const { return program_.values[value].buffer; }
  uint32_t output_buffer(uint32_t i) const { return buffer(at(i).output); }
  bool read_only_by(uint32_t value, uint32_t operation) const {
    return readers_[value].size() == 1 && readers_[value][0] == operation;
  }
  bool quantised_reader(uint32_t i) const { return reads_quantised(program_, at(i)); }
  /// The operation is a product that wants the value's quantised form.
  bool wants_quantised(uint32_t i, uint32_t value) const {
    return quantised_reader(i) && at(i).inputs[0] == value;
  }
  bool wanted_quantised(uint32_t value) const {
    return std::ranges::any_of(readers_[value],
                               [&](uint32_t i) { return wants_quantised(i, value); });
  }
  /// There are readers, and they are products that want the quantised form.
  bool only_wanted_quantised(uint32_t value) const {
    return wanted_quantised(value) && std::ranges::all_of(readers_[value], [&](uint32_t i) {
             return wants_quantised(i, value);
           });
  }

  void fuse(const std::vector<uint32_t>& apart) {
    const auto count = uint32_t(program_.operations.size());
    for (uint32_t i = 0; i < count; ++i) {
      if (is<op::Gate>(i) && std::ranges::find(apart, i) == apart.end()) gate_up(i);
      if (is<op::KvStore>(i)) rope_store(i);
    }
    for (uint32_t i = 0; i < count; ++i)
      if (is<op::Matmul>(i) && free(i)) multiply(i);
  }

  /// One node of these operations, if they can be neighbours.
  void join(Node::Form form, const std::vector<uint32_t>& operations) {
    if (order_.bring_together(operations)) add_form({.form = form, .operations = operations});
  }
  void add_form(const Node& node) {
    for (uint32_t i : node.operations) form_of_[i] = uint32_t(forms_.size());
    if (node.add != op::none) form_of_[node.add] = uint32_t(forms_.size());
    forms_.push_back(node);
  }

  uint32_t width_of(const Operation& operation) const {
    return program_.values[operation.output].width;
  }

  void gate_up(uint32_t i) {
    const Operation& glu = at(i);
    const uint32_t first = producer_[glu.inputs[0]], second = producer_[glu.inputs[1]];
    if (first == second || !is<op::Matmul>(first) || !is<op::Matmul>(second)) return;
    const Operation &gate = at(first), &up = at(second);
    if (quantised_reader(first) && quantised_reader(second) && up.inputs == gate.inputs &&
        gate.bias == op::none && up.bias == op::none && read_only_by(gate.output, i) &&
        read_only_by(up.output, i) && only_wanted_quantised(glu.output) &&
        width_of(gate) == width_of(up) && width_of(glu) % quantum == 0)
      join(Node::Form::gate_up, {first, second, i});
  }

  /// The attention that reads what operation `store` stores.
  uint32_t attention_of(uint32_t store) const {
    for (uint32_t i = store + 1; i < program_.operations.size(); ++i)
      if (const auto* attend = at(i).as<op::Attend>();
          attend && attend->cache == at(store).as<op::KvStore>()->cache)
        return i;
    return op::none;
  }

  uint32_t head_dim(uint32_t rope) const {
    return program_.values[at(rope).output].width / at(rope).as<op::Rope>()->heads;
  }

  /// Its groups write the rotated queries while others still read what they, the keys and the
  /// values are made of.
  void rope_store(uint32_t i) {
    const Operation& store = at(i);
    const uint32_t attention = attention_of(i), keys = producer_[store.inputs[0]];
    if (attention == op::none) return;
    const uint32_t queries = producer_[at(attention).inputs[0]];
    if (queries == keys || !is<op::Rope>(queries) || !is<op::Rope>(keys)) return;
    const uint32_t key_dim = program_.caches[store.as<op::KvStore>()->cache].key_dim;
    if (head_dim(queries) != key_dim || head_dim(keys) != key_dim ||
        at(queries).as<op::Rope>()->table != at(keys).as<op::Rope>()->table ||
        !read_only_by(at(keys).output, i))
      return;
    for (uint32_t read : {at(queries).inputs[0], at(keys).inputs[0], store.inputs[1]})
      if (buffer(read) == output_buffer(queries)) return;
    join(Node::Form::rope_store, {queries, keys, i});
  }

  /// Matmuls of one input, and an add of the last one's product.
  void multiply(uint32_t i) {
    std::vector<uint32_t> parts{i};
    for (uint32_t other : readers_[at(i).inputs[0]]) {
      if (parts.size() == most_parts) break;
      if (other == i || !is<op::Matmul>(other) || !free(other) ||
          quantised_reader(other) != quantised_reader(i) || !own_buffer(parts, other))
        continue;
      parts.push_back(other);
      if (!order_.bring_together(parts)) parts.pop_back();
    }
    add_form({.form = Node::Form::multiply, .operations = parts, .add = residual_of(parts)});
  }

  /// An operation writes where none of the parts does: a value that nobody reads leaves its buffer
  /// at once.
  bool own_buffer(std::span<const uint32_t> parts, uint32_t i) const {
    return std::ranges::none_of(
        parts, [&](uint32_t part) { return output_buffer(part) == output_buffer(i); });
  }

  /// The add that is the only reader of the last part's product, and adds what is there before the
  /// launch. Its output may lie where the matmul's f32 input lay, so the matmul must read the
  /// quantised form.
  uint32_t residual_of(std::vector<uint32_t> parts) {
    const uint32_t last = parts.back(), product = at(last).output;
    if (!quantised_reader(last) || readers_[product].size() != 1) return op::none;
    const uint32_t sum = readers_[product][0];
    if (!is<op::Add>(sum)) return op::none;
    const uint32_t other = at(sum).inputs[at(sum).inputs[0] == product ? 1 : 0];
    if (!own_buffer(std::span(parts).first(parts.size() - 1), sum)) return op::none;
    for (uint32_t part : parts)
      if (at(part).output == other) return op::none;
    parts.push_back(sum);
    return order_.bring_together(parts) ? sum : op::none;
  }

  void put_in_order() {
    for (uint32_t i : order_.operations())
      if (free(i))
        nodes_.push_back({.form = is<op::Matmul>(i) ? Node::Form::multiply : Node::Form::plain,
                          .operations = {i}});
      else if (i == forms_[form_of_[i]].operations[0])
        nodes_.push_back(forms_[form_of_[i]]);
  }

  /// The value whose quantised form a node reads, or leaves in a slot; none: it doesn't.
  uint32_t quantised_input(const Node& node) const {
    const uint32_t first = node.operations[0];
    return quantised_reader(first) ? at(first).inputs[0] : op::none;
  }
  uint32_t quantised_output(const Node& node) const {
    const Operation& last = at(node.operations.back());
    if (node.form == Node::Form::gate_up) return last.output;
    const bool is_norm = last.is<op::RmsNorm>() || last.is<op::LayerNorm>();
    const bool can =
        (is_norm && op::parts_of(last) == 1) ||
        (last.is<op::Attend>() && program_.attention_of(last).value_dim % quantum == 0);
    return fused_ && can && wanted_quantised(last.output) ? last.output : op::none;
  }
  /// All that read the quantised output of node k do so before another value takes its place.
  bool only_read_quantised(size_t k) const {
    const uint32_t value = quantised_output(nodes_[k]);
    if (!only_wanted_quantised(value)) return false;
    size_t readers = readers_[value].size();
    for (++k; k < nodes_.size(); ++k) {
      const uint32_t input = quantised_input(nodes_[k]);
      if (input == value)
        for (uint32_t i : nodes_[k].operations) readers -= wants_quantised(i, value);
      if (readers == 0) return true;
      if ((input != op::none && input != value) || quantised_output(nodes_[k]) != op::none)
        return false;
    }
    return false;
  }

  const op::Program& program_;
  bool fused_;
  Order order_;
  std::vector<std::vector<uint32_t>> readers_;  // by value
  std::vector<uint32_t> producer_;              // by value
  std::vector<uint32_t> form_of_;               // by operation: its index in forms_
  std::vector<Node> forms_;                     // as they were found
  std::vector<Node> nodes_;                     // in order
};

}  // namespace

bool reads_quantised(const op::Program& program, const op::Operation& operation) {
  return op::multiplies(operation) &&
         quant::info(program.weights[operation.weight].type).block_size > 1;
}

std::vector<Node> make_plan(const op::Program& program, bool fused) {
  std::vector<uint32_t> apart;
  for (;;) {
    const Planner planner(program, fused, apart);
    const std::vector<uint32_t> lost = planner.lost();
    if (lost.empty()) return planner.plan();
    apart.insert(apart.end(), lost.begin(), lost.end());
  }
}

}  // namespace assay::gpu
