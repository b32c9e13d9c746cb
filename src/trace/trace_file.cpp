#include "trace/trace_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
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
  if (json.contains("selected")) {
    const auto selected = integers<uint32_t>(json["selected"], int64_t(step.tokens.size()) - 1);
    if (!selected || !std::ranges::is_sorted(*selected, std::less_equal{})) return std::nullopt;
    step.selected = *selected;
  }
  return step;
}

struct Key {
  uint64_t order = 0;
  LlamaName name;
  bool canonical = false;  ///< the file's own name is ours
};

/// "000012.blk.0.q", "000012.Qcur-0.ROPE"; a key without a number comes last.
Key read_key(std::string_view key) {
  Key out{UINT64_MAX, {}};
  if (key == "logits") out.name.canonical = key;
  const size_t dot = key.find('.');
  if (dot != 6 ||
      !std::ranges::all_of(key.substr(0, 6), [](char c) { return c >= '0' && c <= '9'; }))
    return out;
  out.order = std::stoull(std::string(key.substr(0, 6)));
  key.remove_prefix(7);
  out.canonical = key.starts_with("blk.") || key == "embd" || key == "out_norm" ||
                  key == "logits" || key == "out_selected";
  if (out.canonical) {
    out.name.canonical = key;
    return out;
  }
  const size_t last = key.rfind('.');
  if (last != key.npos) out.name = from_llama_cpp(key.substr(0, last), key.substr(last + 1));
  return out;
}

}  // namespace

Result<Trace> Trace::open(const std::string& path) {
  auto bytes = read_file(path, "trace");
  if (!bytes) return bytes.error();
  return parse(std::move(*bytes), path);
}

Result<Trace> Trace::parse(std::vector<uint8_t> bytes, const std::string& path) {
  Trace trace;
  trace.path_ = path;
  trace.bytes_ = std::make_unique<std::vector<uint8_t>>(std::move(bytes));
  auto file = parse_safetensors(*trace.bytes_, path);
  if (!file) return file.error();
  trace.file_ = std::move(*file);
  if (const Status read = trace.read_steps(); !read) return read.error();
  if (const Status read = trace.read_tensors(); !read) return read.error();
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
  if (tokens.empty() && steps.empty())
    return refuse("its metadata has neither tokens nor steps (docs/trace-format.md)");
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
    next = step->positions.back() + 1;
    steps_.push_back(std::move(*step));
  }
  return ok();
}

Status Trace::read_tensors() {
  struct Found {
    Key key;
    size_t stored;
  };
  std::vector<Found> found;
  for (size_t i = 0; i < file_.tensors.size(); ++i)
    found.push_back({read_key(file_.tensors[i].name), i});
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
    if (key.name.canonical.empty()) {
      if (key.name.part)
        ++parts_;
      else
        unknown_.push_back(tensor.name);
      continue;
    }
    // The plain key `logits` of a capture repeats the last operation.
    if (!numbered && by_name_[step].contains(key.name.canonical)) continue;
    TraceTensor entry{tensor.name, key.name.canonical, step, stored, 1, 1};
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
    auto [where, fresh] = by_name_[step].try_emplace(entry.name, tensors_.size());
    if (!fresh && key.canonical)
      return Error{fmt::format("{}: '{}' occurs twice in step {}", path_, entry.name, step)};
    // llama.cpp's sum with the bias replaces the product.
    if (fresh)
      tensors_.push_back(std::move(entry));
    else
      tensors_[where->second] = std::move(entry);
  }
  return ok();
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
  for (auto& names : by_name_) names.clear();
  for (size_t i = 0; i < tensors_.size(); ++i) by_name_[tensors_[i].step][tensors_[i].name] = i;
}

const TraceTensor* Trace::find(uint32_t step, std::string_view name) const {
  if (step >= by_name_.size()) return nullptr;
  const auto found = by_name_[step].find(std::string(name));
  return found == by_name_[step].end() ? nullptr : &tensors_[found->second];
}

Result<judge::Table> Trace::values(const TraceTensor& tensor) const {
  const auto floats = to_f32(file_.tensors[tensor.stored]);
  if (!floats) return Error{fmt::format("{}: {}", path_, floats.error().message)};
  judge::Table table(tensor.rows, tensor.width);
  const uint64_t stored = floats->size() / tensor.rows;
  for (uint64_t r = 0; r < tensor.rows; ++r)
    std::ranges::copy(std::span(*floats).subspan(r * stored + tensor.first_column, tensor.width),
                      table.row(r).begin());
  return table;
}

double Trace::rounding(const TraceTensor& tensor) const {
  const std::string& type = file_.tensors[tensor.stored].dtype;
  return type == "F16" ? 0x1p-11 : type == "BF16" ? 0x1p-8 : 0x1p-24;
}

}  // namespace assay::trace
