// A trace: what an engine computed, step by step, tensor by tensor. docs/trace-format.md says how
// it is stored.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "judge/formulas.h"
#include "trace/graph.h"
#include "trace/name_map.h"
#include "trace/safetensors_file.h"

namespace assay::trace {

struct TraceStep {
  op::Step view() const { return {tokens, positions, {}, selected}; }

  std::vector<int32_t> tokens;
  /// Counted: those after the step before. What the trace says of them may be the fault.
  std::vector<uint32_t> positions;
  std::vector<uint32_t> selected;  ///< indices into tokens whose logits were wanted
  uint32_t declared = 0;           ///< the first position, as the trace says it
};

/// One operation's output.
struct TraceTensor {
  std::string key;   ///< as the file has it
  std::string name;  ///< canonical: "blk.3.q"
  uint32_t step = 0;
  size_t stored = 0;  ///< index into the file's tensors
  uint64_t rows = 0, width = 0;
  uint64_t first_column = 0;  ///< where the values begin in a stored row, which may be wider
  std::string node = {};      ///< of llama.cpp's products: MUL_MAT, MUL or ADD (llama_names.h)
  /// Of a routing that the file holds as two tensors: the index of the ids', where `stored` is that
  /// of the weights. The ids may be of more experts, best first, than there are weights.
  std::optional<size_t> ids = {};
  uint64_t fewer = 0;              ///< experts of a routing that the engine did not choose
  std::vector<uint8_t> axes = {};  ///< which stored dimensions its own are; empty: as stored
  bool halves = false;             ///< a head's lanes are in halves (NameMap)
  uint32_t head = 0,
           turned = 0;  ///< of halves, once they are known: a head's lanes, those that RoPE turns
};

class Trace {
 public:
  /// Errors, one sentence each: cannot be read; what parse_safetensors refuses; metadata that is
  /// missing or wrong (tokens, steps, order, names); a tensor whose shape is no (tokens, width).
  /// `names`: what the file's own names are; where there are none, the metadata `names` says it.
  static Result<Trace> open(const std::string& path, NameMap names = {});
  static Result<Trace> parse(std::vector<uint8_t> bytes, const std::string& path,
                             NameMap names = {});

  const std::string& path() const { return path_; }
  /// Empty where the file doesn't say.
  std::string metadata(const std::string& key) const;
  bool holds_statistics() const { return metadata("content") == "statistics"; }

  const std::vector<TraceStep>& steps() const { return steps_; }
  const std::vector<TraceTensor>& tensors() const { return tensors_; }  ///< in execution order
  /// Keys without a canonical name, those apart that are views or parts of an operation.
  const std::vector<std::string>& unknown() const { return unknown_; }
  uint64_t parts() const { return parts_; }

  /// The last of this name; nullptr where the trace doesn't have it.
  const TraceTensor* find(uint32_t step, std::string_view name) const;
  /// The finished result of an operation; nullptr where the trace has none, be it that it shows the
  /// product before its bias or its scale only.
  const TraceTensor* find(uint32_t step, const op::Operation& operation) const;
  /// Why find() gives nothing: "not in the trace", or which node of the product is.
  std::string why_missing(uint32_t step, const op::Operation& operation) const;
  /// Where the trace says what each of its tensors was made of (`graph`), finds the operations by
  /// that instead of by name. Call it before anything else reads the trace.
  void find_by_graph(const op::Program& program);
  /// A routing of fewer experts than the model's gets others with weights of 0, and what is computed of
  /// the chosen ones counts as not recorded: it is the choice that is wrong.
  void fit_routings(const op::Program& program);
  /// Whether the engine does the operation as a part of the next one: it adds a sum's parts in
  /// another order, or an activation limits what it reads.
  bool is_merged(const op::Operation& operation) const { return merged_.contains(operation.name); }
  /// Dimensions as the file has them, outermost first.
  const std::vector<uint64_t>& shape(const TraceTensor& tensor) const;
  /// Whether a tensor is all of a stored one, not a part of a fused product.
  bool is_whole(const TraceTensor& tensor) const;
  /// From now on the tensor is (rows, width) of its stored dimensions in this order: {1, 0, 2} for
  /// heads before tokens.
  void arrange(const TraceTensor& tensor, std::vector<uint8_t> axes, uint64_t rows, uint64_t width);
  /// Heads of these lanes, of which the first `turned` are in halves: values() brings them together.
  void set_heads(const TraceTensor& tensor, uint32_t head, uint32_t turned);
  /// Its values, (rows, width). Errors: a type that holds no numbers.
  Result<judge::Table> values(const TraceTensor& tensor) const;
  /// Half an ulp of its type, relative: 2^-11 for F16, 2^-8 for BF16, 2^-24 for the rest.
  double rounding(const TraceTensor& tensor) const;
  /// "F32", "BF16": as safetensors calls it.
  const std::string& type_of(const TraceTensor& tensor) const;

 private:
  Status read_names();
  Status read_steps();
  Status read_tensors();
  /// Errors: metadata that is no list of what each tensor reads.
  Status read_graph();
  void find_by_graph(const op::Program& program, uint32_t step, std::vector<TraceTensor>& all,
                     std::set<std::string>& named);
  /// Makes one tensor of the ids and the weights of a routing.
  void join_routings();
  Result<judge::Table> joined(const TraceTensor& tensor) const;
  void index_names();
  /// Splits products with fused matrices into the operations that they are of.
  void split_fused();
  const std::vector<size_t>* all_of(uint32_t step, std::string_view name) const;

  std::string path_;
  NameMap names_;
  std::unique_ptr<std::vector<uint8_t>> bytes_;  // stays where it is when the trace moves
  SafeTensors file_;
  std::vector<TraceStep> steps_;
  std::vector<TraceTensor> tensors_;
  std::vector<std::string> unknown_;
  std::vector<size_t> numbered_;   // the stored tensors in their order
  std::vector<uint32_t> step_of_;  // of each of them
  std::vector<GraphNode> graph_;   // of each of them; empty: not known
  std::set<std::string> merged_;   // names of operations
  uint64_t parts_ = 0;
  // Of each step, the tensors of a name in execution order: a product may have several nodes.
  std::vector<std::unordered_map<std::string, std::vector<size_t>>> by_name_;
};

}  // namespace assay::trace
