// How the dimensions of a trace's tensors are meant.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "diff/lanes.h"
#include "diff/side.h"
#include "diff/walk.h"

namespace assay::diff {

using trace::Trace;

namespace {

/// Finds out how the dimensions of a trace's tensors are meant, where they can be meant in several
/// ways or do not begin with the tokens: the way that comes nearest to the operation's formula.
class Arrangement {
 public:
  explicit Arrangement(Trace& trace) : trace_(trace) {}

  /// Whether any tensor can be meant otherwise than documented.
  static bool is_needed(const Trace& trace) {
    return std::ranges::any_of(trace.tensors(), [&](const trace::TraceTensor& tensor) {
      const trace::TraceStep& step = trace.steps()[tensor.step];
      return std::ranges::any_of(
          std::array{step.tokens.size(), step.selected.size()}, [&](uint64_t rows) {
            const std::vector<Layout> all = layouts(trace.shape(tensor), rows);
            return all.size() > 1 || (all.size() == 1 && !all[0].documented());
          });
    });
  }

  void look(const op::Program& program, uint32_t number, const op::Operation& operation,
            const Inputs& inputs, bool lacks) {
    const trace::TraceStep& step = trace_.steps()[number];
    if (operation.is<op::KvStore>()) {
      const Table want = lacks ? Table() : judge::formula(program, operation, inputs);
      const uint64_t key_width = program.values[operation.inputs[0]].width;
      const uint64_t value_width = program.values[operation.inputs[1]].width;
      settle(trace_.find(number, operation.name + "_k"), step.tokens.size(), key_width,
             [&] { return columns(want, 0, key_width); });
      settle(trace_.find(number, operation.name + "_v"), step.tokens.size(), value_width,
             [&] { return columns(want, key_width, value_width); });
      return;
    }
    const op::Value& value = program.values[operation.output];
    settle(trace_.find(number, operation),
           value.selected ? step.selected.size() : step.tokens.size(), value.width,
           [&] { return lacks ? Table() : judge::formula(program, operation, inputs); });
  }

  /// Which layouts were found, and in which tensors.
  std::vector<std::string> notes() const {
    std::vector<std::string> out;
    for (const auto& [layout, keys] : found_)
      out.push_back(
          fmt::format("{} of {}{} {} stored as ({}), and read so", keys.first, trace_.path(),
                      keys.count > 1 ? fmt::format(" and {} more tensors", keys.count - 1) : "",
                      keys.count > 1 ? "are" : "is", layout));
    return out;
  }

 private:
  struct Layout {
    std::string_view name;      // empty: as documented
    std::vector<uint8_t> axes;  // empty: as stored

    bool documented() const { return name.empty(); }
  };
  struct Keys {
    std::string first;
    uint64_t count = 0;
  };

  static Table columns(const Table& all, uint64_t first, uint64_t width) {
    if (all.data.empty()) return {};
    Table out(all.rows, width);
    for (uint64_t t = 0; t < all.rows; ++t)
      std::ranges::copy(all.row(t).subspan(first, width), out.row(t).begin());
    return out;
  }

  /// Those that the dimensions allow, the documented one first.
  static std::vector<Layout> layouts(const std::vector<uint64_t>& shape, uint64_t rows) {
    std::vector<uint8_t> big;  // the dimensions that are not 1
    for (size_t d = 0; d < shape.size(); ++d)
      if (shape[d] != 1) big.push_back(uint8_t(d));
    std::vector<Layout> out;
    if (big.empty() || shape[big[0]] == rows || rows == 1) out.push_back({});
    if (big.size() < 2 || rows == 1) return out;
    const auto with = [&](std::string_view name, std::vector<uint8_t> order) {
      std::vector<uint8_t> axes;
      for (const uint8_t place : order) axes.push_back(big[place]);
      out.push_back({name, axes});
    };
    const uint64_t last = shape[big.back()];
    if (big.size() == 3 && shape[big[1]] == rows)
      with("heads, tokens, channels of a head", {1, 0, 2});
    if (big.size() == 3 && last == rows) {
      with("heads, channels of a head, tokens", {2, 0, 1});
      with("channels of a head, heads, tokens", {2, 1, 0});
    }
    if (big.size() == 2 && last == rows) with("channels, tokens", {1, 0});
    // The numbers of the shape in reverse, as ggml prints them; the values as documented.
    if (last == rows && shape[big[0]] != rows) with("tokens last, innermost dimension first", {});
    return out;
  }

  template <class Want>
  void settle(const trace::TraceTensor* tensor, uint64_t rows, uint64_t width, Want make_want) {
    if (!tensor || !trace_.is_whole(*tensor) || tensor->rows * tensor->width != rows * width)
      return;
    const std::vector<Layout> all = layouts(trace_.shape(*tensor), rows);
    const bool documented = !all.empty() && all[0].documented();
    if (all.empty() || (documented && all.size() == 1)) return;
    const Table want = make_want();
    if (want.data.empty()) return;
    const trace::TraceTensor before = *tensor;
    size_t best = all.size();
    double least = INFINITY, first = INFINITY;
    for (size_t i = 0; i < all.size(); ++i) {
      trace_.arrange(*tensor, all[i].axes, rows, width);
      const auto values = trace_.values(*tensor);
      const double error = values ? nmse(*values, want) : INFINITY;
      if (i == 0) first = error;
      if (!(error < least)) continue;
      least = error;
      best = i;
    }
    // A wrong order is off by about twice the values' own square; roundings by far less.
    const bool clear = best < all.size() && least < 0.1 && (!documented || least < first / 4);
    if (!clear || (documented && best == 0)) {
      trace_.arrange(*tensor, before.axes, before.rows, before.width);
      return;
    }
    trace_.arrange(*tensor, all[best].axes, rows, width);
    Keys& keys = found_[std::string(all[best].name)];
    if (keys.count++ == 0) keys.first = tensor->key;
  }

  Trace& trace_;
  std::map<std::string, Keys> found_;  // by layout
};

}  // namespace

/// Tells the trace how long the heads are whose lanes it has in halves. Notes on those that have none.
static std::vector<std::string> settle_halves(const op::Program& program, Trace& trace) {
  std::vector<std::string> notes;
  for (const trace::TraceTensor& tensor : trace.tensors()) {
    if (!tensor.halves) continue;
    const auto operation = std::ranges::find(program.operations, tensor.name, &op::Operation::name);
    const op::Operation* rope =
        operation == program.operations.end() ? nullptr : rope_of(program, *operation);
    if (rope && program.rope_of(*rope).adjacent)
      trace.set_heads(tensor, head_of(program, *rope), program.rope_of(*rope).dimensions);
    else
      notes.push_back(
          fmt::format("'{}' is said to have its lanes in halves; {}, so it is read as it is",
                      tensor.key, rope ? "so has the model" : "RoPE turns nothing there"));
  }
  return notes;
}

std::vector<std::string> arrange(const op::Program& program, Trace& trace) {
  trace.find_by_graph(program);
  trace.fit_routings(program);
  if (trace.holds_statistics()) return {};
  std::vector<std::string> notes = settle_halves(program, trace);
  if (!Arrangement::is_needed(trace)) return notes;
  Arrangement arrangement(trace);
  Walk walk(program, trace, {},
            [&](uint32_t step, const op::Operation& operation, const Inputs& inputs, bool lacks) {
              arrangement.look(program, step, operation, inputs, lacks);
            });
  const Status walked = walk.run([](const Walk::Item&) { return true; });
  (void)walked;  // what is wrong with the trace, judge_trace says
  for (std::string& note : arrangement.notes()) notes.push_back(std::move(note));
  return notes;
}

}  // namespace assay::diff
