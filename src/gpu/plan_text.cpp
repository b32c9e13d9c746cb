#include <fmt/format.h>

#include "gpu/plan.h"
#include "op/kinds.h"

namespace assay::gpu {

namespace {

/// The name of an operation or value within its layer: "q" of "blk.3.q".
std::string short_name(const std::string& name, uint32_t layer) {
  const std::string prefix = fmt::format("blk.{}.", layer);
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

class PlanText {
 public:
  PlanText(const op::Program& program, const std::vector<Node>& nodes)
      : program_(program), nodes_(nodes) {}

  std::string text() const {
    std::string text =
        fmt::format("{} operations in {} nodes\n", program_.operations.size(), nodes_.size());
    for (size_t k = 0; k < nodes_.size();) {
      const uint32_t first = layer_of(k);
      const std::string lines = lines_from(k);
      uint32_t last = first;
      k = end_of_layer(k);
      while (first != op::none && k < nodes_.size() && layer_of(k) == last + 1 &&
             lines_from(k) == lines) {
        ++last;
        k = end_of_layer(k);
      }
      text += heading(first, last) + lines;
    }
    return text;
  }

 private:
  const op::Operation& at(uint32_t i) const { return program_.operations[i]; }
  /// The layer of a node; one that only quantises or groups belongs to the layer of its reader.
  uint32_t layer_of(size_t k) const {
    while (nodes_[k].operations.empty()) ++k;
    return at(nodes_[k].operations[0]).layer;
  }
  size_t end_of_layer(size_t k) const {
    const uint32_t layer = layer_of(k);
    while (k < nodes_.size() && layer_of(k) == layer) ++k;
    return k;
  }
  static std::string heading(uint32_t first, uint32_t last) {
    if (first == op::none) return "outside of the layers\n";
    return first == last ? fmt::format("layer {}\n", first)
                         : fmt::format("layers {} to {}\n", first, last);
  }

  std::string lines_from(size_t k) const {
    std::string lines;
    for (const size_t end = end_of_layer(k); k < end; ++k)
      lines += fmt::format("  {:<11}  {:<31}  -> {}\n", form_of(nodes_[k]), read_by(k),
                           joined(written_by(k)));
    return lines;
  }
  std::string form_of(const Node& node) const {
    switch (node.form) {
      case Node::Form::plain:
        return std::string(op::name_of(at(node.operations[0])));
      case Node::Form::quantise:
        return "quantise";
      case Node::Form::multiply:
        return "multiply";
      case Node::Form::gate_up:
        return "gate_up";
      case Node::Form::rope_store:
        return "rope_store";
      case Node::Form::group_experts:
        return "group_experts";
    }
    return "";
  }
  std::string name_of(uint32_t operation, uint32_t layer) const {
    return short_name(at(operation).name, layer);
  }
  std::string value_of(uint32_t value, uint32_t layer) const {
    return short_name(program_.values[value].name, layer);
  }
  /// The operations, or the value that is quantised or grouped.
  std::string read_by(size_t k) const {
    const Node& node = nodes_[k];
    const uint32_t layer = layer_of(k);
    if (node.operations.empty()) return value_of(node.value, layer);
    std::vector<std::string> names;
    for (uint32_t i : node.operations) names.push_back(name_of(i, layer));
    return joined(names) + (node.add == op::none ? "" : " + " + name_of(node.add, layer));
  }
  std::vector<std::string> written_by(size_t k) const {
    const Node& node = nodes_[k];
    const uint32_t layer = layer_of(k);
    if (node.form == Node::Form::quantise) return {value_of(node.value, layer) + " int8"};
    if (node.form == Node::Form::group_experts) return {"places"};
    const op::Operation& last = at(node.operations.back());
    if (node.form == Node::Form::gate_up) return {value_of(last.output, layer) + " int8"};
    std::vector<std::string> written;
    for (uint32_t i : node.operations) {
      const op::Operation& operation =
          node.add != op::none && i == node.operations.back() ? at(node.add) : at(i);
      if (operation.output == op::none)
        written.push_back("cache");
      else if (node.form == Node::Form::rope_store && i == node.operations[1])
        continue;  // the keys go to the cache at once
      else if (node.writes_value)
        written.push_back(value_of(operation.output, layer) + " f32");
    }
    if (node.writes_quantised) written.push_back(value_of(last.output, layer) + " int8");
    return written;
  }

  const op::Program& program_;
  const std::vector<Node>& nodes_;
};

}  // namespace

std::string text_of_plan(const op::Program& program, const std::vector<Node>& nodes) {
  return PlanText(program, nodes).text();
}

}  // namespace assay::gpu
