#include "trace/graph.h"

#include <algorithm>
#include <set>
#include <span>
#include <string_view>

#include "op/kinds.h"

namespace assay::trace {

namespace {

using Names = std::vector<std::string_view>;

/// How a kind of operation looks in ggml's graph: the nodes on the way, and the one that it ends with.
struct Shape {
  Names last, inner = {};
  bool longest = false;  ///< of several ends that read the same, the last one
};

Shape shape_of(const op::Operation& operation, bool weighed) {
  const bool bias = operation.bias != op::none;
  const auto ends = [&](std::string_view adds, Names last) { return bias ? Names{adds} : last; };
  const auto norm = [&](std::string_view bare) {
    return Shape{ends("ADD", {weighed ? "MUL" : bare}), {bare, "MUL", "SCALE"}};
  };
  return op::visit(
      operation, [](const op::Embed&) { return Shape{{"GET_ROWS"}}; },
      [&](const op::RmsNorm&) { return norm("RMS_NORM"); },
      [&](const op::LayerNorm&) { return norm("NORM"); },
      [&](const op::Matmul&) {
        return Shape{ends("ADD", {"MUL_MAT"}), {"MUL_MAT", "CONCAT"}};
      },
      [](const op::Rope&) { return Shape{{"ROPE"}}; },
      [](const op::Gate&) {
        return Shape{{"GLU", "MUL"}, {"UNARY", "DIV"}};  // sigmoid as silu(x)/x
      },
      [](const op::Activate& p) {
        return p.activation == op::Activation::relu_squared ? Shape{{"SQR"}, {"UNARY"}}
                                                            : Shape{{"UNARY"}};
      },
      [](const op::Xielu&) { return Shape{{"UNARY"}}; },
      [](const op::Add&) {
        return Shape{{"ADD"}, {"ADD"}};
      },
      [&](const op::Scale&) {
        return Shape{ends("ADD", {"SCALE", "MUL"}), {"MUL"}};
      },
      [](const op::SoftCap&) {
        return Shape{{"SCALE"}, {"SCALE", "UNARY"}, true};
      },
      [](const op::Clamp&) { return Shape{{"CLAMP"}}; },
      [](const op::PositionScale&) { return Shape{{"MUL"}}; },
      [&](const op::MatmulExperts&) {
        return Shape{ends("ADD_ID", {"MUL_MAT_ID"}), {"MUL_MAT_ID"}};
      },
      [&](const op::ScaleExperts&) {
        return Shape{ends("ADD_ID", {"MUL"}), {"MUL", "REPEAT", "GET_ROWS"}};
      },
      [](const op::SpreadExperts&) {
        return Shape{{"MUL"}, {"REPEAT"}};
      },
      [](const op::MixExperts&) {
        return Shape{{"ADD", "MUL"}, {"ADD", "MUL"}, true};
      },
      // found by name, or without a node of their own
      [](const op::KvStore&) { return Shape{}; }, [](const op::Attend&) { return Shape{}; },
      [](const op::Slice&) { return Shape{}; }, [](const op::Route&) { return Shape{}; },
      [](const op::SelectRows&) { return Shape{}; });
}

bool contains(const Names& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

/// A weight's tensor in the file: "blk.0.attn_qkv.weight[q]" is rows of it.
std::string tensor_of(const op::Weight& weight) {
  return weight.name.substr(0, weight.name.find('['));
}

const Names views = {"RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE"};

/// Operations that an engine may do as a part of the next one.
bool may_be_merged(const op::Operation& operation) {
  return operation.is<op::Add>() || operation.is<op::Clamp>();
}

class Finder {
 public:
  Finder(const op::Program& program, std::vector<GraphNode> nodes)
      : program_(program),
        nodes_(std::move(nodes)),
        at_(program.values.size()),
        known_(nodes_.size(), false),
        taken_(nodes_.size(), 0) {
    for (const op::Weight& weight : program.weights) weights_.insert(tensor_of(weight));
    out_.places.resize(program.operations.size());
    out_.merged.resize(program.operations.size(), false);
    out_.inner.resize(nodes_.size(), false);
    skip_moves();
  }

  Places run(const std::function<std::optional<size_t>(const op::Operation&)>& by_name) {
    for (size_t i = 0; i < program_.operations.size(); ++i) {
      const op::Operation& operation = program_.operations[i];
      if (operation.is<op::KvStore>()) continue;
      if (operation.is<op::Slice>() || operation.is<op::SelectRows>()) {
        at_[operation.output] = at_[operation.inputs[0]];
        continue;
      }
      std::optional<Place> place =
          operation.is<op::Attend>() ? attention(operation) : by_sources(operation);
      const std::vector<Place> read = terms(operation);
      const bool merges = may_be_merged(operation) && !read.empty();
      if (!place && !merges)
        if (const auto named = by_name(operation); named && !known_[*named]) place = Place{*named};
      if (!place) {
        if (merges) at_[operation.output] = read;
        continue;
      }
      if (operation.role == op::Role::logits) place = through_scales(*place);
      out_.places[i] = place;
      const size_t origin = origin_[place->node].node;
      out_.inner[origin] = origin != place->node;
      out_.inner[place->node] = false;
      place->node = origin;
      known_[place->node] = true;
      if (operation.is<op::Attend>() || operation.is<op::Route>()) {
        Read way;
        gather(place->node, {}, way);
        for (const size_t node : way.inner) out_.inner[node] = true;
      }
      taken_[place->node] = place->first + program_.values[operation.output].width;
      merge(operation);
      at_[operation.output] = {*place};
    }
    return std::move(out_);
  }

 private:
  /// What a node reads beyond the steps of its own operation.
  struct Read {
    std::vector<GraphNode::Source> sources;
    std::set<std::string> weights;
    std::vector<size_t> inner;
  };

  /// Views, and rows that are chosen for the logits: who reads them reads what they are made of.
  void skip_moves() {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      GraphNode& node = nodes_[i];
      for (GraphNode::Source& source : node.sources) {
        const GraphNode::Source& origin = origin_[source.node];
        source = {origin.node, origin.first + source.first};
      }
      const bool selects = node.operation == "GET_ROWS" && node.leaves.size() == 1 &&
                           node.leaves[0].ends_with("out_ids");
      const bool moves = node.sources.size() == 1 && (selects || contains(views, node.operation));
      origin_.push_back(moves ? node.sources[0] : GraphNode::Source{i, 0});
      out_.inner[i] = moves;
    }
  }

  /// `inner`: operations on the way; empty: all that are not known.
  void gather(size_t node, const Names& inner, Read& read) const {
    for (const std::string& leaf : nodes_[node].leaves)
      if (weights_.contains(leaf)) read.weights.insert(leaf);
    for (const GraphNode::Source& source : nodes_[node].sources) {
      const std::string& operation = nodes_[source.node].operation;
      if (operation == "ARGSORT" || operation == "TOP_K") continue;  // ids of experts
      if (known_[source.node] || !(inner.empty() || contains(inner, operation))) {
        read.sources.push_back(source);
        continue;
      }
      read.inner.push_back(source.node);
      gather(source.node, inner, read);
    }
  }

  /// What the operation reads; empty where that is not known. Of a sum that the graph has not, its
  /// terms.
  std::vector<Place> terms(const op::Operation& operation) const {
    size_t count = operation.inputs.size();
    const auto* mix = operation.as<op::MixExperts>();
    if (op::multiplies(operation) || operation.is<op::ScaleExperts>() || (mix && !mix->weighted))
      count = std::min<size_t>(count, 1);  // the second is the routing, and of that the ids
    std::vector<Place> out;
    for (size_t i = 0; i < count; ++i) {
      const std::vector<Place>& of = at_[operation.inputs[i]];
      if (of.empty()) return {};
      out.insert(out.end(), of.begin(), of.end());
    }
    return out;
  }

  bool reads(size_t candidate, const Read& read, const std::vector<Place>& wanted) const {
    const auto fits = [&](const GraphNode::Source& source, const Place& place) {
      return source.node == place.node &&
             (source.first == place.first || nodes_[candidate].width == nodes_[source.node].width);
    };
    return std::ranges::all_of(read.sources,
                               [&](const GraphNode::Source& source) {
                                 return std::ranges::any_of(wanted, [&](const Place& place) {
                                   return fits(source, place);
                                 });
                               }) &&
           std::ranges::all_of(wanted, [&](const Place& place) {
             return std::ranges::find(read.sources, place.node, &GraphNode::Source::node) !=
                    read.sources.end();
           });
  }

  std::optional<Place> by_sources(const op::Operation& operation) {
    std::set<std::string> weights;
    for (const uint32_t weight : {operation.weight, operation.bias})
      if (weight != op::none)
        if (const std::string name = tensor_of(program_.weights[weight]); !name.ends_with(')'))
          weights.insert(name);
    const Shape shape = shape_of(operation, !weights.empty());
    const std::vector<Place> wanted = terms(operation);
    if (shape.last.empty() || (wanted.empty() && !operation.is<op::Embed>())) return std::nullopt;
    const uint64_t width = program_.values[operation.output].width;
    const Place first = wanted.empty() ? Place{0, 0} : wanted[0];
    std::optional<Place> found;
    Read of_found;
    for (size_t i = wanted.empty() ? 0 : first.node + 1; i < nodes_.size(); ++i) {
      if (!contains(shape.last, nodes_[i].operation)) continue;
      const bool whole = nodes_[i].width == width;
      // A product with several matrices at once holds their results side by side, in their order.
      const uint64_t column = whole ? 0 : op::multiplies(operation) ? taken_[i] : first.first;
      if (column + width > nodes_[i].width || (whole && known_[i])) continue;
      Read read;
      gather(i, shape.inner.empty() ? Names{""} : shape.inner, read);
      // Several results side by side read the weights of all.
      const bool same = read.weights == weights;
      if (!(same || (!whole && std::ranges::includes(read.weights, weights)))) continue;
      if (!reads(i, read, wanted)) continue;
      found = Place{i, column};
      of_found = std::move(read);
      if (!shape.longest) break;
    }
    for (const size_t node : of_found.inner) out_.inner[node] = true;
    return found;
  }

  /// Logits are what the engine ends with: it may multiply them by 1.
  Place through_scales(Place place) {
    for (size_t i = place.node + 1; i < nodes_.size(); ++i) {
      if (nodes_[i].operation != "SCALE" || nodes_[i].sources.size() != 1 ||
          nodes_[i].sources[0].node != place.node)
        continue;
      out_.inner[place.node] = true;
      place.node = i;
    }
    return place;
  }

  /// Keys and values come from the cache, which has no place in the graph.
  std::optional<Place> attention(const op::Operation& operation) const {
    const std::vector<Place>& q = at_[operation.inputs[0]];
    for (size_t i = q.empty() ? nodes_.size() : q[0].node + 1; i < nodes_.size(); ++i)
      if (!known_[i] && (nodes_[i].operation == "FLASH_ATTN_EXT" || nodes_[i].operation == "CONT"))
        return Place{i};
    return std::nullopt;
  }

  /// The operations without a node that `operation`, which was found, is made of.
  void merge(const op::Operation& operation) {
    for (const uint32_t input : operation.inputs)
      for (size_t i = 0; i < program_.operations.size(); ++i)
        if (program_.operations[i].output == input && !out_.places[i] && !at_[input].empty() &&
            may_be_merged(program_.operations[i])) {
          out_.merged[i] = true;
          merge(program_.operations[i]);
        }
  }

  const op::Program& program_;
  std::vector<GraphNode> nodes_;
  std::set<std::string> weights_;          // all tensors that the program multiplies or adds
  std::vector<std::vector<Place>> at_;     // by value; empty: not known; several: terms of a sum
  std::vector<GraphNode::Source> origin_;  // by node: itself, or what it is a view of
  std::vector<bool> known_;                // by node: an operation's result
  std::vector<uint64_t> taken_;            // by node: its columns that are results already
  Places out_;
};

}  // namespace

Places find_operations(const op::Program& program, const std::vector<GraphNode>& nodes,
                       const std::function<std::optional<size_t>(const op::Operation&)>& by_name) {
  return Finder(program, nodes).run(by_name);
}

}  // namespace assay::trace
