#include "trace/trace_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "base/read_file.h"
#include "trace/llama_names.h"
#include "trace/shallow_json.h"

namespace assay::trace {

namespace {

using Json = nlohmann::json;

constexpr uint64_t most_tokens = 1 << 20;

/// A JSON list of integers from 0 to `limit`.
template <class T>
std::optional<std::vector<T>> integers(const Json& json, int64_t limit) {
  if (!json.is_array() || json.size() > most_tokens) return std::nullopt;
  std::vector<T> out;
  for (const Json& one : json) {
    if (!one.is_number_integer() || one < 0 || one > limit) return std::nullopt;
    out.push_back(one.get<T>());
  }
  return out;
}

constexpr int64_t most_id = INT32_MAX;

/// One entry of `steps`. `next` is the position that follows the step before.
std::optional<TraceStep> read_step(const Json& json, uint32_t next) {
  if (!json.is_object() || !json.contains("tokens")) return std::nullopt;
  TraceStep step;
  const auto tokens = integers<int32_t>(json["tokens"], most_id);
  if (!tokens || tokens->empty()) return std::nullopt;
  step.tokens = *tokens;
  for (size_t i = 0; i < step.tokens.size(); ++i) {
    step.positions.push_back(next + uint32_t(i));
    step.selected.push_back(uint32_t(i));
  }
  if (json.contains("positions")) {
    const auto positions = integers<uint32_t>(json["positions"], most_id);
    if (!positions || positions->size() != step.tokens.size()) return std::nullopt;
    step.positions = *positions;
  }
  step.declared = step.positions[0];
  if (json.contains("selected")) {
    const auto selected = integers<uint32_t>(json["selected"], int64_t(step.tokens.size()) - 1);
    if (!selected || !std::ranges::is_sorted(*selected, std::less_equal{})) return std::nullopt;
    step.selected = *selected;
  }
  return step;
}

/// Positions that are consecutive, but not from `next` on, where a step came before.
void count_on(TraceStep& step, uint32_t next) {
  for (size_t i = 0; i < step.positions.size(); ++i)
    if (step.positions[i] != uint64_t(step.declared) + i) return;
  if (next > 0) std::iota(step.positions.begin(), step.positions.end(), next);
}

struct Key {
  uint64_t order = 0;
  LlamaName name;
  bool canonical = false;  ///< the file's own name is ours
  bool halves = false;
};

/// Names that stand in no layer.
constexpr std::array<std::string_view, 10> names_of_the_whole = {
    "embd",         "embd_scaled", "embd_norm", "embd_positioned", "positions",
    "out_selected", "out_norm",    "logits",    "logits_scaled",   "logits_capped"};

/// "000012.blk.0.q", "000012.Qcur-0.ROPE"; a key without a number comes last.
Key read_key(std::string_view key, const NameMap& names) {
  Key out{UINT64_MAX, {}};
  const size_t dot = key.find('.');
  const bool numbered = dot == 6 && std::ranges::all_of(key.substr(0, 6), [](char c) {
                          return c >= '0' && c <= '9';
                        });
  if (numbered) {
    out.order = std::stoull(std::string(key.substr(0, 6)));
    key.remove_prefix(7);
  }
  if (const auto mapped = names.find(key)) {
    out.name.canonical = mapped->canonical;
    out.name.part = mapped->canonical.empty();
    out.canonical = !out.name.part && !names.is_as_they_are();
    out.halves = mapped->halves;
    return out;
  }
  if (key == "logits") out.name.canonical = key;
  if (!numbered) return out;
  out.canonical = key.starts_with("blk.") || key.starts_with("per_layer") ||
                  std::ranges::find(names_of_the_whole, key) != names_of_the_whole.end();
  if (out.canonical) {
    out.name.canonical = key;
    return out;
  }
  const size_t last = key.rfind('.');
  if (last != key.npos) out.name = from_llama_cpp(key.substr(0, last), key.substr(last + 1));
  return out;
}

/// What a file is that is no trace, and what can be done with it; empty where it is not known.
std::string other_kind(std::span<const uint8_t> bytes) {
  const auto begins = [&](std::string_view magic) {
    return bytes.size() >= magic.size() &&
           std::equal(magic.begin(), magic.end(), bytes.begin(),
                      [](char c, uint8_t byte) { return uint8_t(c) == byte; });
  };
  if (begins("GGUF"))
    return "it is a GGUF model; 'assay trace record' makes a trace of a run of it, and -m names "
           "the "
           "model that a trace is of";
  if (begins("\x93NUMPY"))
    return "it is a .npy array; 'assay check' judges one operation by such arrays, and "
           "python/assay/trace.py writes them into a trace";
  if (begins("PK\x03\x04"))
    return "it is a zip archive, as torch.save and numpy.savez write; python/assay/trace.py writes "
           "arrays into a trace";
  return "";
}

}  // namespace

Result<Trace> Trace::open(const std::string& path, NameMap names) {
  auto bytes = read_file(path, "trace");
  if (!bytes) return bytes.error();
  return parse(std::move(*bytes), path, std::move(names));
}

Result<Trace> Trace::parse(std::vector<uint8_t> bytes, const std::string& path, NameMap names) {
  Trace trace;
  trace.path_ = path;
  trace.names_ = std::move(names);
  trace.bytes_ = std::make_unique<std::vector<uint8_t>>(std::move(bytes));
  if (const std::string kind = other_kind(*trace.bytes_); !kind.empty())
    return Error{fmt::format("{}: not a safetensors file: {}", path, kind)};
  auto file = parse_safetensors(*trace.bytes_, path);
  if (!file) return file.error();
  trace.file_ = std::move(*file);
  if (const Status read = trace.read_steps(); !read) return read.error();
  if (const Status read = trace.read_names(); !read) return read.error();
  if (const Status read = trace.read_tensors(); !read) return read.error();
  if (const Status read = trace.read_graph(); !read) return read.error();
  trace.join_routings();
  trace.split_fused();
  return trace;
}

std::string Trace::metadata(const std::string& key) const {
  const auto found = file_.metadata.find(key);
  return found == file_.metadata.end() ? "" : found->second;
}

Status Trace::read_steps() {
  const auto refuse = [&](std::string_view what) {
    return Error{fmt::format("{}: this is not a trace: {}", path_, what)};
  };
  const std::string tokens = metadata("tokens"), steps = metadata("steps");
  if (metadata("format").starts_with("assay.case/"))
    return refuse(
        "it is a case, one operation alone; 'assay trace replay' judges it and runs it again");
  if (tokens.empty() && steps.empty())
    return refuse(
        "its metadata has neither tokens nor steps; write the ids that the engine ran, "
        "\"tokens\": \"[1, 2, 3]\" (docs/trace-format.md)");
  Json json = parse_shallow(steps.empty() ? "[{\"tokens\":" + tokens + "}]" : steps);
  if (json.is_discarded() || !json.is_array() || json.empty() || json.size() > most_tokens)
    return refuse(steps.empty() ? "tokens is not a JSON list of ids" : "steps is not a JSON list");
  uint32_t next = 0;
  for (size_t i = 0; i < json.size(); ++i) {
    auto step = read_step(json[i], next);
    if (!step)
      return refuse(steps.empty()
                        ? std::string("tokens is not a JSON list of ids")
                        : fmt::format("step {} has no good tokens, positions or selected", i));
    count_on(*step, next);
    next = step->positions.back() + 1;
    steps_.push_back(std::move(*step));
  }
  return ok();
}

Status Trace::read_names() {
  const std::string stated = metadata("names");
  if (!names_.empty() || stated.empty()) return ok();
  auto names = NameMap::parse(stated, path_ + ": its metadata 'names'");
  if (!names) return names.error();
  names_ = std::move(*names);
  return ok();
}

Status Trace::read_tensors() {
  struct Found {
    Key key;
    size_t stored;
  };
  std::vector<Found> found;
  for (size_t i = 0; i < file_.tensors.size(); ++i)
    found.push_back({read_key(file_.tensors[i].name, names_), i});
  std::ranges::stable_sort(found, {}, [](const Found& f) { return f.key.order; });

  std::vector<uint64_t> ends;  // of each step, in tensors
  if (const std::string order = metadata("order"); !order.empty()) {
    const auto counts = integers<uint64_t>(parse_shallow(order), most_id);
    if (!counts || counts->size() != steps_.size())
      return Error{
          fmt::format("{}: this is not a trace: order is not a count for each step", path_)};
    for (const uint64_t count : *counts) ends.push_back(count + (ends.empty() ? 0 : ends.back()));
  }
  by_name_.resize(steps_.size());
  uint32_t step = 0;
  for (size_t at = 0; at < found.size(); ++at) {
    const auto& [key, stored] = found[at];
    const StoredTensor& tensor = file_.tensors[stored];
    const bool numbered = key.order != UINT64_MAX;
    while (numbered && step + 1 < ends.size() && at >= ends[step]) ++step;
    // Without counts an embedding begins a step.
    if (ends.empty() && key.name.canonical == "embd" && by_name_[step].contains("embd") &&
        step + 1 < steps_.size())
      ++step;
    if (numbered) {
      numbered_.push_back(stored);
      step_of_.push_back(step);
    }
    if (key.name.canonical.empty()) {
      if (key.name.part)
        ++parts_;
      else
        unknown_.push_back(tensor.name);
      continue;
    }
    // The plain key `logits` of a capture repeats the last operation.
    if (!numbered && by_name_[step].contains(key.name.canonical)) continue;
    TraceTensor entry{.key = tensor.name,
                      .name = key.name.canonical,
                      .step = step,
                      .stored = stored,
                      .rows = 1,
                      .width = 1,
                      .node = key.name.node,
                      .halves = key.halves};
    size_t first = 0;
    while (first + 1 < tensor.shape.size() && tensor.shape[first] == 1) ++first;
    // A single token's dimension is a 1, too: what stands before it is 1 all the same.
    const uint64_t tokens = steps_[step].tokens.size(), chosen = steps_[step].selected.size();
    const uint64_t leading = tensor.shape.empty() ? 1 : tensor.shape[first];
    const bool by_row = tensor.shape.size() > 1 && (leading == tokens || leading == chosen);
    entry.rows = by_row ? leading : 1;
    if (tensor.shape.size() == 2) entry.rows = tensor.shape[0];
    if (entry.rows == 0 || tensor.elements == 0)
      return Error{fmt::format("{}: tensor '{}' is empty", path_, tensor.name)};
    entry.width = tensor.elements / entry.rows;
    std::vector<size_t>& of_name = by_name_[step][entry.name];
    if (!of_name.empty() && key.canonical)
      return Error{fmt::format("{}: '{}' occurs twice in step {}", path_, entry.name, step)};
    of_name.push_back(tensors_.size());
    tensors_.push_back(std::move(entry));
  }
  return ok();
}

/// A list for each numbered tensor: of what it reads, a number ([number, first column] where it
/// is not the whole) stands for another tensor of the step, a name for one of the file or an input.
Status Trace::read_graph() {
  const std::string text = metadata("graph");
  if (text.empty()) return ok();
  const Error wrong{
      fmt::format("{}: this is not a trace: graph is not a list of what each tensor reads", path_)};
  const Json json = parse_shallow(text);
  if (json.is_discarded() || !json.is_array() || json.size() != numbered_.size()) return wrong;
  for (size_t i = 0; i < json.size(); ++i) {
    const StoredTensor& stored = file_.tensors[numbered_[i]];
    const std::string_view name = std::string_view(stored.name).substr(7);
    const size_t dot = name.rfind('.');
    if (dot == name.npos || !json[i].is_array()) return wrong;
    GraphNode node{std::string(name.substr(0, dot)), std::string(name.substr(dot + 1))};
    for (const Json& source : json[i]) {
      if (source.is_string()) {
        node.leaves.push_back(source);
        continue;
      }
      const auto place = integers<uint64_t>(source.is_array() ? source : Json{source}, most_id);
      if (!place || place->empty() || place->size() > 2 || (*place)[0] >= i ||
          step_of_[(*place)[0]] != step_of_[i])
        return wrong;
      node.sources.push_back({(*place)[0], place->size() > 1 ? (*place)[1] : 0});
    }
    const uint64_t tokens = steps_[step_of_[i]].tokens.size();
    node.width = stored.elements % tokens == 0 ? stored.elements / tokens : 0;
    graph_.push_back(std::move(node));
  }
  return ok();
}

void Trace::find_by_graph(const op::Program& program) {
  if (graph_.empty()) return;
  std::vector<TraceTensor> all;
  std::set<std::string> settled;  // keys
  for (uint32_t step = 0; step < steps_.size(); ++step) find_by_graph(program, step, all, settled);
  std::set<std::pair<uint32_t, std::string>> found;
  for (const TraceTensor& tensor : all) found.insert({tensor.step, tensor.name});
  for (TraceTensor& tensor : tensors_) {
    if (settled.contains(tensor.key)) continue;
    if (found.contains({tensor.step, tensor.name}))
      unknown_.push_back(tensor.key);  // it is called as what another one is
    else
      all.push_back(std::move(tensor));
  }
  std::erase_if(unknown_, [&](const std::string& key) { return settled.contains(key); });
  tensors_ = std::move(all);
  index_names();
}

void Trace::find_by_graph(const op::Program& program, uint32_t step, std::vector<TraceTensor>& all,
                          std::set<std::string>& settled) {
  const size_t begin = size_t(std::ranges::find(step_of_, step) - step_of_.begin());
  std::vector<GraphNode> nodes;
  for (size_t i = begin; i < graph_.size() && step_of_[i] == step; ++i) {
    nodes.push_back(graph_[i]);
    for (GraphNode::Source& source : nodes.back().sources) {
      source.node -= begin;
      if (const uint64_t width = nodes[source.node].width) source.first %= width;
    }
  }
  const auto key_of = [&](size_t node) { return file_.tensors[numbered_[begin + node]].name; };
  std::map<std::string, size_t> by_key;
  for (size_t i = 0; i < nodes.size(); ++i) by_key[key_of(i)] = i;
  const Places found =
      find_operations(program, nodes, [&](const op::Operation& operation) -> std::optional<size_t> {
        const TraceTensor* named = find(step, operation);
        if (!named || !by_key.contains(named->key)) return std::nullopt;
        return by_key[named->key];
      });
  for (size_t i = 0; i < nodes.size(); ++i)
    if (found.inner[i]) settled.insert(key_of(i));
  for (size_t i = 0; i < program.operations.size(); ++i) {
    const op::Operation& operation = program.operations[i];
    if (found.merged[i]) merged_.insert(operation.name);
    if (!found.places[i]) continue;
    const auto [node, first] = *found.places[i];
    const op::Value& value = program.values[operation.output];
    const size_t stored = numbered_[begin + node];
    const uint64_t rows =
        value.selected ? steps_[step].selected.size() : steps_[step].tokens.size();
    // Of another shape than the model's: it keeps its own, and whoever reads it says so.
    if (file_.tensors[stored].elements < rows * (first + value.width)) continue;
    TraceTensor tensor{.key = key_of(node),
                       .name = operation.name,
                       .step = step,
                       .stored = stored,
                       .rows = rows,
                       .width = value.width,
                       .first_column = first};
    if (operation.is<op::Route>()) tensor = *find(step, operation);
    settled.insert(tensor.key);
    all.push_back(std::move(tensor));
  }
}

/// "blk.3.qkv" is q, k and v, as wide as q_rope, k_rope and what is left. "blk.3.up" is gate and up
/// where it is twice as wide as act. Where these are not in the trace, nothing is known of the
/// parts, and they stay unmeasured.
void Trace::split_fused() {
  std::vector<TraceTensor> all;
  for (const TraceTensor& tensor : tensors_) {
    const size_t dot = tensor.name.rfind('.');
    const std::string blk = tensor.name.substr(0, dot + 1), last = tensor.name.substr(dot + 1);
    const auto width_of = [&](const char* name) -> uint64_t {
      const TraceTensor* other = find(tensor.step, blk + name);
      return other ? other->width : 0;
    };
    std::vector<std::pair<const char*, uint64_t>> parts;
    if (last == "qkv") {
      const uint64_t q = width_of("q_rope"), k = width_of("k_rope");
      if (q && k && q + k < tensor.width) parts = {{"q", q}, {"k", k}, {"v", tensor.width - q - k}};
    } else if (last == "up" && !width_of("gate")) {
      const uint64_t act = width_of("act");
      if (act && tensor.width == 2 * act) parts = {{"gate", act}, {"up", act}};
    }
    if (parts.empty()) all.push_back(tensor);
    uint64_t column = 0;
    for (const auto& [name, width] : parts) {
      TraceTensor part = tensor;
      part.name = blk + name;
      part.width = width;
      part.first_column = column;
      column += width;
      all.push_back(std::move(part));
    }
  }
  tensors_ = std::move(all);
  index_names();
}

void Trace::index_names() {
  for (auto& names : by_name_) names.clear();
  for (size_t i = 0; i < tensors_.size(); ++i)
    by_name_[tensors_[i].step][tensors_[i].name].push_back(i);
}

const std::vector<size_t>* Trace::all_of(uint32_t step, std::string_view name) const {
  if (step >= by_name_.size()) return nullptr;
  const auto found = by_name_[step].find(std::string(name));
  return found == by_name_[step].end() ? nullptr : &found->second;
}

const TraceTensor* Trace::find(uint32_t step, std::string_view name) const {
  const auto* all = all_of(step, name);
  return all ? &tensors_[all->back()] : nullptr;
}

namespace {

/// Logits that are scaled or capped: llama.cpp calls them as their product.
bool is_last_scale(const op::Operation& operation) {
  return operation.role == op::Role::logits && !operation.is<op::Matmul>();
}
/// What llama.cpp calls as a bias of the dense branch: the sum of experts and the shared one.
bool is_sum_of_experts(const op::Operation& operation) {
  return operation.is<op::Add>() && operation.name.ends_with(".experts_sum");
}

/// The node of llama.cpp that holds the operation's finished result; empty where there is but one.
std::string_view last_node(const op::Operation& operation) {
  const bool bias = operation.bias != op::none;
  if (op::multiplies(operation)) return bias ? bias_node : product_node;
  if (is_last_scale(operation)) return last_scale_node;
  if (operation.is<op::Scale>() || operation.is<op::ScaleExperts>())
    return bias ? bias_node : scale_node;
  return is_sum_of_experts(operation) ? bias_node : std::string_view();
}

/// What llama.cpp's nodes of a product are called, of a scaled one too: "blk.3.gate".
std::string name_of_product(const op::Operation& operation) {
  std::string name = operation.name;
  const auto cut = [&](std::string_view ending) {
    if (name.ends_with(ending)) name.resize(name.size() - ending.size());
  };
  cut("_unscaled");
  if (is_last_scale(operation)) return "logits";
  if (is_sum_of_experts(operation)) {
    cut("experts_sum");
    return name + "down";
  }
  return name;
}

/// llama.cpp calls the parts of the shared expert as those of a dense layer: "blk.3.up" for
/// "blk.3.shared_up".
std::string name_of_dense(const std::string& name) {
  constexpr std::string_view shared = ".shared_";
  const size_t at = name.find(shared);
  return at == name.npos ? name : name.substr(0, at + 1) + name.substr(at + shared.size());
}
bool has_dense_name(const op::Operation& operation) {
  for (const char* part : {".shared_gate", ".shared_up", ".shared_act", ".shared_down"})
    if (operation.name.ends_with(part)) return true;
  return false;
}

}  // namespace

const TraceTensor* Trace::find(uint32_t step, const op::Operation& operation) const {
  const bool dense = has_dense_name(operation) && !find(step, operation.name);
  const TraceTensor* own = find(step, dense ? name_of_dense(operation.name) : operation.name);
  if (own && own->node.empty()) return own;
  const std::string_view node = last_node(operation);
  const std::string product = name_of_product(operation);
  const auto* all = all_of(step, dense ? name_of_dense(product) : product);
  if (node.empty() || !all) return own;
  const auto at = std::ranges::find_if(all->rbegin(), all->rend(),
                                       [&](size_t i) { return tensors_[i].node == node; });
  return at == all->rend() ? nullptr : &tensors_[*at];
}

std::string Trace::why_missing(uint32_t step, const op::Operation& operation) const {
  const TraceTensor* found = find(step, name_of_product(operation));
  if (!found || found->node.empty()) return "not in the trace";
  const std::string_view wanted = last_node(operation);
  if (wanted == product_node)
    return fmt::format("'{}' has something added or multiplied that the file does not have",
                       found->key);
  return fmt::format(
      "'{}' is not the result: the file has a {}, and no node that {} it has a name "
      "that is known",
      found->key, wanted == bias_node ? "bias" : "scale",
      wanted == bias_node ? "adds" : "multiplies by");
}

const std::vector<uint64_t>& Trace::shape(const TraceTensor& tensor) const {
  return file_.tensors[tensor.stored].shape;
}

bool Trace::is_whole(const TraceTensor& tensor) const {
  return tensor.rows * tensor.width == file_.tensors[tensor.stored].elements;
}

void Trace::arrange(const TraceTensor& tensor, std::vector<uint8_t> axes, uint64_t rows,
                    uint64_t width) {
  TraceTensor& own = tensors_[size_t(&tensor - tensors_.data())];
  own.axes = std::move(axes);
  own.rows = rows;
  own.width = width;
}

void Trace::set_heads(const TraceTensor& tensor, uint32_t head, uint32_t turned) {
  TraceTensor& own = tensors_[size_t(&tensor - tensors_.data())];
  own.head = head;
  own.turned = turned;
}

namespace {

/// Lanes i and i + turned/2 of each head become 2i and 2i + 1.
void bring_together(std::span<double> row, uint32_t head, uint32_t turned) {
  std::vector<double> lanes(turned);
  for (size_t begin = 0; begin + head <= row.size(); begin += head) {
    for (uint32_t i = 0; i < turned; ++i)
      lanes[i / (turned / 2) + 2 * (i % (turned / 2))] = row[begin + i];
    std::ranges::copy(lanes, row.begin() + ptrdiff_t(begin));
  }
}

/// A tensor with its dimensions in another order: axis d of the result is axes[d] of the stored one.
std::vector<float> permuted(const std::vector<float>& from, const std::vector<uint64_t>& shape,
                            const std::vector<uint8_t>& axes) {
  std::vector<uint64_t> stored_stride(shape.size(), 1), extent, stride;
  for (size_t d = shape.size(); d-- > 1;) stored_stride[d - 1] = stored_stride[d] * shape[d];
  for (const uint8_t axis : axes) {
    extent.push_back(shape[axis]);
    stride.push_back(stored_stride[axis]);
  }
  std::vector<float> out(from.size());
  std::vector<uint64_t> index(axes.size(), 0);
  uint64_t source = 0;
  for (float& value : out) {
    value = from[source];
    for (size_t d = axes.size(); d-- > 0;) {
      source += stride[d];
      if (++index[d] < extent[d]) break;
      source -= stride[d] * extent[d];
      index[d] = 0;
    }
  }
  return out;
}

}  // namespace

Result<judge::Table> Trace::values(const TraceTensor& tensor) const {
  if (tensor.ids) return joined(tensor);
  auto floats = to_f32(file_.tensors[tensor.stored]);
  if (!floats) return Error{fmt::format("{}: {}", path_, floats.error().message)};
  if (!tensor.axes.empty()) *floats = permuted(*floats, shape(tensor), tensor.axes);
  judge::Table table(tensor.rows, tensor.width);
  const uint64_t stored = floats->size() / tensor.rows;
  for (uint64_t r = 0; r < tensor.rows; ++r) {
    std::ranges::copy(std::span(*floats).subspan(r * stored + tensor.first_column, tensor.width),
                      table.row(r).begin());
    if (tensor.halves && tensor.turned) bring_together(table.row(r), tensor.head, tensor.turned);
  }
  return table;
}

const std::string& Trace::type_of(const TraceTensor& tensor) const {
  return file_.tensors[tensor.stored].dtype;
}

double Trace::rounding(const TraceTensor& tensor) const {
  const std::string& type = type_of(tensor);
  return type == "F16" ? 0x1p-11 : type == "BF16" ? 0x1p-8 : 0x1p-24;
}

}  // namespace assay::trace
