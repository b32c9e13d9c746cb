#include "gpu/plan.h"

#include <algorithm>

#include "kernel/args.h"
#include "quant/formats.h"

namespace assay::gpu {

namespace {

using op::Operation;

class Planner {
 public:
  Planner(const op::Program& program, bool fused)
      : program_(program), fused_(fused), readers_(program.values.size()) {
    for (uint32_t i = 0; i < program.operations.size(); ++i)
      for (uint32_t input : program.operations[i].inputs) readers_[input].push_back(i);
  }

  std::vector<Node> plan() {
    for (uint32_t i = 0; i < program_.operations.size(); i += taken_) {
      taken_ = 1;
      const Operation& operation = program_.operations[i];
      if (operation.is<op::Matmul>())
        matmul(i);
      else if (fused_ && rope_store_fits(i))
        nodes_.push_back({.form = Node::Form::rope_store, .operations = take(i, 3)});
      else
        plain(i);
    }
    return std::move(nodes_);
  }

 private:
  const Operation& at(uint32_t i) const { return program_.operations[i]; }
  bool exists(uint32_t i) const { return i < program_.operations.size(); }
  std::vector<uint32_t> take(uint32_t first, uint32_t count) {
    taken_ = count;
    std::vector<uint32_t> operations;
    for (uint32_t i = first; i < first + count; ++i) operations.push_back(i);
    return operations;
  }
  bool read_only_by(uint32_t value, uint32_t operation) const {
    return readers_[value].size() == 1 && readers_[value][0] == operation;
  }
  bool quantised_reader(uint32_t i) const { return reads_quantised(program_, at(i)); }
  /// Some matmul, or every reader, wants the value's quantised form.
  bool wanted_quantised(uint32_t value) const {
    return std::ranges::any_of(readers_[value], [&](uint32_t i) { return quantised_reader(i); });
  }
  /// Only matmuls read it, at once after operation i: then its slot still holds it.
  bool wanted_only_quantised(uint32_t value, uint32_t i) const {
    return wanted_quantised(value) &&
           std::ranges::all_of(readers_[value],
                               [&](uint32_t reader) { return quantised_reader(reader); }) &&
           readers_[value].back() == i + readers_[value].size();
  }
  uint32_t next_slot() {
    slot_ = (slot_ + 1) % quantised_slots;
    return slot_;
  }

  void plain(uint32_t i) {
    const Operation& operation = at(i);
    Node node{.operations = {i}};
    const auto* rms_norm = operation.as<op::RmsNorm>();
    const bool norm = rms_norm && rms_norm->parts == 1;
    const bool attention = operation.is<op::Attend>() &&
                           program_.attention_of(operation).value_dim % quantum == 0;
    if (fused_ && (norm || attention) && wanted_quantised(operation.output)) {
      node.writes_quantised = true;
      node.writes_value = !wanted_only_quantised(operation.output, i);
      node.to = next_slot();
      quantised_ = operation.output;
    }
    nodes_.push_back(node);
  }

  void matmul(uint32_t i) {
    const uint32_t input = at(i).inputs[0];
    const bool quantised = quantised_reader(i);
    if (quantised && quantised_ != input) {
      nodes_.push_back({.form = Node::Form::quantise, .value = input, .to = next_slot()});
      quantised_ = input;
    }
    Node node{.form = Node::Form::multiply, .operations = {i}, .from = slot_};
    if (fused_ && gate_up_fits(i)) {
      node.form = Node::Form::gate_up;
      node.operations = take(i, 3);
      node.to = next_slot();
      quantised_ = at(i + 2).output;
    } else if (fused_) {
      uint32_t count = 1;
      while (count < most_parts && exists(i + count) && at(i + count).is<op::Matmul>() &&
             at(i + count).inputs[0] == input && quantised_reader(i + count) == quantised &&
             own_buffer(i, count))
        ++count;
      node.operations = take(i, count);
      if (quantised && add_fits(i, i + count - 1)) {
        node.add = i + count;
        ++taken_;
      }
    }
    nodes_.push_back(node);
  }

  /// Operation i + count writes where none of the `count` before it does: a value that nobody reads
  /// leaves its buffer at once.
  bool own_buffer(uint32_t i, uint32_t count) const {
    const auto buffer = [&](uint32_t j) { return program_.values[at(j).output].buffer; };
    for (uint32_t j = i; j < i + count; ++j)
      if (buffer(j) == buffer(i + count)) return false;
    return true;
  }

  /// The add that follows is the only reader of the product, and adds what was there before the
  /// launch of `first` to `i`. Its output may lie where the matmul's f32 input lay, so the matmul
  /// must read the quantised form.
  bool add_fits(uint32_t first, uint32_t i) const {
    if (!exists(i + 1) || !at(i + 1).is<op::Add>() || !read_only_by(at(i).output, i + 1))
      return false;
    const std::vector<uint32_t>& inputs = at(i + 1).inputs;
    const uint32_t other = inputs[inputs[0] == at(i).output ? 1 : 0];
    for (uint32_t j = first; j <= i; ++j)
      if (at(j).output == other) return false;
    return true;
  }

  bool gate_up_fits(uint32_t i) const {
    if (!exists(i + 2)) return false;
    const Operation &gate = at(i), &up = at(i + 1), &glu = at(i + 2);
    return quantised_reader(i) && up.is<op::Matmul>() && quantised_reader(i + 1) &&
           up.inputs == gate.inputs && gate.bias == op::none && up.bias == op::none &&
           glu.is<op::Gate>() &&
           glu.inputs == std::vector<uint32_t>{gate.output, up.output} &&
           read_only_by(gate.output, i + 2) && read_only_by(up.output, i + 2) &&
           wanted_only_quantised(glu.output, i + 2) &&
           program_.values[glu.output].width % quantum == 0;
  }

  bool rope_store_fits(uint32_t i) const {
    if (!exists(i + 2)) return false;
    const Operation &queries = at(i), &keys = at(i + 1), &store = at(i + 2);
    if (!queries.is<op::Rope>() || !keys.is<op::Rope>() || !store.is<op::KvStore>()) return false;
    const uint32_t key_dim = program_.caches[store.as<op::KvStore>()->cache].key_dim;
    const auto head_dim = [&](const Operation& rope) {
      return program_.values[rope.output].width / rope.as<op::Rope>()->heads;
    };
    return queries.as<op::Rope>()->table == keys.as<op::Rope>()->table &&
           head_dim(queries) == key_dim && head_dim(keys) == key_dim &&
           store.inputs[0] == keys.output && read_only_by(keys.output, i + 2);
  }

  const op::Program& program_;
  bool fused_;
  std::vector<std::vector<uint32_t>> readers_;  // by value
  std::vector<Node> nodes_;
  uint32_t taken_ = 1, slot_ = 0, quantised_ = op::none;
};

}  // namespace

bool reads_quantised(const op::Program& program, const op::Operation& operation) {
  return operation.is<op::Matmul>() &&
         quant::info(program.weights[operation.weight].type).block_size > 1;
}

std::vector<Node> make_plan(const op::Program& program, bool fused) {
  return Planner(program, fused).plan();
}

}  // namespace assay::gpu
