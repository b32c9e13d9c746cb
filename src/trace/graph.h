// Finds a program's operations in the graph that a trace records: by what each node reads, not by
// what it is called.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "op/program.h"

namespace assay::trace {

/// A node of ggml's graph. Views and copies are left out: who reads them reads their source.
struct GraphNode {
  /// Another node of the step, and the first of its columns that is read.
  struct Source {
    size_t node;
    uint64_t first = 0;
  };
  std::string name, operation;  ///< "ffn_out-3", "ADD"
  std::vector<Source> sources = {};
  std::vector<std::string> leaves = {};  ///< tensors of the file, and the graph's inputs
  uint64_t width = 0;                    ///< elements of a token
};

/// Where an operation's result is.
struct Place {
  size_t node;
  uint64_t first = 0;  ///< column
};

struct Places {
  std::vector<std::optional<Place>> places;  ///< by operation
  /// Operations that the graph has not: sums whose parts it adds in another order, limits that are a
  /// part of an activation. What reads them is the whole of it.
  std::vector<bool> merged;
  std::vector<bool> inner;  ///< by node: a step on the way to a result
};

/// `by_name`: the node that is called as the operation, where there is one; it counts where nothing
/// else is known (a router's choice, attention).
Places find_operations(const op::Program& program, const std::vector<GraphNode>& nodes,
                       const std::function<std::optional<size_t>(const op::Operation&)>& by_name);

}  // namespace assay::trace
