#include "diff/side.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>

#include "diff/lanes.h"
#include "judge/product.h"
#include "op/kinds.h"
#include "trace/npy.h"

namespace assay::diff {

using judge::Table;
using trace::Trace;

std::string_view name_of(Verdict verdict) {
  constexpr std::array<std::string_view, 3> names = {"PASS", "FAIL", "UNMEASURED"};
  return names[size_t(verdict)];
}

uint64_t Side::count(Verdict verdict) const {
  return uint64_t(std::ranges::count(operations, verdict, &JudgedOperation::verdict));
}

namespace {

/// The terms of a sum that an engine adds in an order of its own.
struct Terms {
  Table size;            ///< their absolute values, added up
  double additions = 1;  ///< each rounds to f32: half an ulp of no more than `size`
};

/// Stored values are off by as much as their type rounds away; f16 has a fixed unit below 2^-14.
Judged widened(Judged judged, double rounding, const Terms* terms = nullptr) {
  if (rounding == 0 && !terms) return judged;
  if (judged.slack.data.empty()) judged.slack = Table(judged.want.rows, judged.want.width);
  for (size_t i = 0; terms && i < judged.want.data.size(); ++i)
    judged.slack.data[i] += terms->size.data[i] * terms->additions * 0x1p-24;
  const double least = rounding == 0x1p-11 ? 0x1p-25 : 0;
  for (size_t i = 0; i < judged.want.data.size(); ++i)
    judged.slack.data[i] += std::max(std::fabs(judged.want.data[i]) * rounding, least);
  return judged;
}

double nmse(const Table& got, const Table& exact) {
  double error = 0, size = 0;
  for (size_t i = 0; i < got.data.size(); ++i) {
    error += (got.data[i] - exact.data[i]) * (got.data[i] - exact.data[i]);
    size += exact.data[i] * exact.data[i];
  }
  return error / size;
}

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

/// Walks a trace: what every operation reads, step after step.
class Walk {
 public:
  struct Item {
    uint32_t step;
    size_t index;
    const op::Operation& operation;
    const Inputs& inputs;
    const Table* got;          ///< nullptr where the trace doesn't have it
    const std::string* lacks;  ///< the name of a missing input; nullptr: all there
    const Terms* terms;        ///< of a sum whose order is the engine's own; else nullptr
    double rounding = 0;  ///< half an ulp of the type that `got` is stored in; 0: f32 or better
    bool narrow = false;  ///< it, or an input, is stored in fewer bits than f32 has
  };
  /// Returns false to stop.
  using Visit = std::function<bool(const Item&)>;

  /// `arrange`: may change how the trace's tensors are read, each before it is.
  Walk(const op::Program& program, const Trace& trace, Arithmetic arithmetic,
       Arrangement* arrange = nullptr)
      : program_(program),
        trace_(trace),
        arithmetic_(arithmetic),
        arrange_(arrange),
        caches_(program.caches.size()),
        cache_whole_(program.caches.size(), true),
        cache_narrow_(program.caches.size(), false),
        last_use_(op::last_uses(program)) {}

  Status run(const Visit& visit) {
    for (uint32_t step = 0; step < trace_.steps().size(); ++step) {
      const auto done = run_step(step, visit);
      if (!done) return done.error();
      if (!*done) break;
    }
    return ok();
  }

 private:
  Result<bool> run_step(uint32_t number, const Visit& visit) {
    const trace::TraceStep& step = trace_.steps()[number];
    if (const Status good = check(step, number); !good) return good.error();
    std::vector<Table> values(program_.values.size());
    std::vector<bool> narrow(program_.values.size(), false);
    std::vector<std::optional<Terms>> terms(program_.values.size());
    for (size_t i = 0; i < program_.operations.size(); ++i) {
      const op::Operation& operation = program_.operations[i];
      Inputs inputs{{}, step.view(), {&caches_, 1}};
      const std::string* lacks = nullptr;
      bool narrow_input = false;
      for (const uint32_t value : operation.inputs) {
        inputs.values.push_back(&values[value]);
        if (values[value].data.empty()) lacks = &program_.values[value].name;
        narrow_input = narrow_input || narrow[value];
      }
      static const std::string cache = "the cache";
      if (const auto* attend = operation.as<op::Attend>()) {
        if (!cache_whole_[attend->cache]) lacks = &cache;
        narrow_input = narrow_input || cache_narrow_[attend->cache];
      }
      if (arrange_) arrange_->look(program_, number, operation, inputs, lacks != nullptr);
      const double rounding = rounding_of(number, operation);
      if (operation.is<op::KvStore>()) {
        const auto stored = read_stored(number, operation, step);
        if (!stored) return stored.error();
        inputs.got = &*stored;
        if (!stored->data.empty() && !visit({number, i, operation, inputs, &*stored, lacks, nullptr,
                                             rounding, narrow_input}))
          return false;
        if (narrow_input) cache_narrow_[operation.as<op::KvStore>()->cache] = true;
        store(operation, inputs, *stored, step, lacks);
        continue;
      }
      auto got = read(number, operation, step);
      if (!got) return got.error();
      // Copies need no trace: what they give is what they are given.
      if (got->data.empty() && op::row_of(operation).moves && !lacks)
        *got = expect(program_, operation, inputs, {}, arithmetic_).want;
      const bool merged = got->data.empty() && trace_.is_merged(operation) && !lacks;
      const auto of = operation.is<op::Add>() && !lacks ? terms_of(operation, inputs, terms, merged)
                                                        : std::nullopt;
      inputs.got = &*got;
      narrow[operation.output] = rounding > 0 || (op::row_of(operation).moves && narrow_input);
      if (!visit({number, i, operation, inputs, got->data.empty() ? nullptr : &*got, lacks,
                  of ? &*of : nullptr, rounding, narrow_input || rounding > 0}))
        return false;
      if (merged) {
        *got = judge::formula(program_, operation, inputs);
        terms[operation.output] = of;  // of a sum
      }
      values[operation.output] = std::move(*got);
      for (const uint32_t value : operation.inputs)
        if (last_use_[value] == i) values[value] = {};
    }
    return true;
  }

  /// Of a sum that the engine has not, or that reads one.
  static std::optional<Terms> terms_of(const op::Operation& operation, const Inputs& inputs,
                                       const std::vector<std::optional<Terms>>& known,
                                       bool merged) {
    Terms of{Table(inputs.values[0]->rows, inputs.values[0]->width)};
    for (size_t i = 0; i < operation.inputs.size(); ++i) {
      const auto& input = known[operation.inputs[i]];
      const Table& size = input ? input->size : *inputs.values[i];
      if (input) of.additions += input->additions;
      for (size_t j = 0; j < size.data.size(); ++j) of.size.data[j] += std::fabs(size.data[j]);
    }
    return merged || of.additions > 1 ? std::optional(std::move(of)) : std::nullopt;
  }

  Status check(const trace::TraceStep& step, uint32_t number) const {
    for (const int32_t token : step.tokens)
      if (uint32_t(token) >= program_.vocabulary)
        return Error{fmt::format("{}: token {} is beyond the model's vocabulary of {}",
                                 trace_.path(), token, program_.vocabulary)};
    for (size_t i = 0; i < step.positions.size(); ++i) {
      const uint64_t wanted = uint64_t(step.positions[0]) + i;
      if (step.positions[i] != wanted || (number == 0 && step.positions[0] != 0))
        return Error{
            fmt::format("{}: the positions of step {} are not consecutive from the last "
                        "step's: the cache before them is unknown",
                        trace_.path(), number)};
    }
    return ok();
  }

  /// Half an ulp of the type that the trace keeps an operation's output in; 0 for f32 and f64. What
  /// a cache holds is f16 by nature.
  double rounding_of(uint32_t number, const op::Operation& operation) const {
    const trace::TraceTensor* tensor = trace_.find(number, operation);
    const double rounding = tensor ? trace_.rounding(*tensor) : 0;
    return rounding > 0x1p-24 ? rounding : 0;
  }

  /// The trace's tensor; empty where there is none. Errors: another shape than the program's.
  Result<Table> read(uint32_t number, const op::Operation& operation,
                     const trace::TraceStep& step) const {
    const trace::TraceTensor* tensor = trace_.find(number, operation);
    if (!tensor) return Table();
    const op::Value& value = program_.values[operation.output];
    if (!value.selected) return shaped(*tensor, step.tokens.size(), value.width, false);
    // Many engines norm every token's row, and multiply the last one with the head.
    if (tensor->rows == step.tokens.size() && step.selected.size() < step.tokens.size()) {
      const auto all = shaped(*tensor, step.tokens.size(), value.width, true);
      if (!all) return all.error();
      Table chosen(step.selected.size(), value.width);
      for (size_t i = 0; i < step.selected.size(); ++i)
        std::ranges::copy(all->row(step.selected[i]), chosen.row(i).begin());
      return chosen;
    }
    return shaped(*tensor, step.selected.size(), value.width, true);
  }

  Result<Table> shaped(const trace::TraceTensor& tensor, uint64_t rows, uint64_t width,
                       bool selected) const {
    if (tensor.rows == rows && tensor.width == width) return trace_.values(tensor);
    const std::string head = fmt::format("{}: '{}' ", trace_.path(), tensor.key);
    if (tensor.rows == 1 && tensor.width == width && selected)
      return Error{fmt::format(
          "{}has one row, but the logits of all {} tokens are wanted; if it is the last token's, "
          "say so in the metadata: \"steps\" instead of \"tokens\", with \"selected\": [{}] in its "
          "step (docs/trace-format.md)",
          head, rows, trace_.steps()[tensor.step].tokens.size() - 1)};
    if (tensor.rows == 1 && tensor.width == width)
      return Error{fmt::format(
          "{}has one row, but {} tokens were run: attention reads those before the last one, too; "
          "record every token of the prompt (or run a prompt of one token)",
          head, rows)};
    return Error{
        fmt::format("{}has the shape {}; the model and the tokens make it ({}, {}): a row "
                    "for each token (docs/trace-format.md)",
                    head, trace::shape_text(trace_.shape(tensor)), rows, width)};
  }

  /// (tokens, keys and values side by side) as the trace has them in the cache; of all positions so
  /// far where it has those; empty where it has not both.
  Result<Table> read_stored(uint32_t number, const op::Operation& operation,
                            const trace::TraceStep& step) const {
    const trace::TraceTensor* keys = trace_.find(number, operation.name + "_k");
    const trace::TraceTensor* values = trace_.find(number, operation.name + "_v");
    if (!keys || !values) return Table();
    const uint64_t key_width = program_.values[operation.inputs[0]].width;
    const uint64_t value_width = program_.values[operation.inputs[1]].width;
    const uint64_t all = step.positions.back() + uint64_t(1);
    const bool whole = keys->rows * keys->width == all * key_width;
    const uint64_t rows = whole ? all : step.tokens.size();
    const auto k = shaped(*keys, rows, key_width, false);
    if (!k) return k.error();
    const auto v = shaped(*values, rows, value_width, false);
    if (!v) return v.error();
    Table both(k->rows, key_width + value_width);
    for (uint64_t t = 0; t < both.rows; ++t)
      std::ranges::copy(v->row(t), std::ranges::copy(k->row(t), both.row(t).begin()).out);
    return both;
  }

  /// Fills the cache with what the trace says is in it, else with what its contract keeps.
  void store(const op::Operation& operation, const Inputs& inputs, const Table& stored,
             const trace::TraceStep& step, const std::string* lacks) {
    const uint32_t cache = operation.as<op::KvStore>()->cache;
    if (stored.data.empty() && lacks) {
      cache_whole_[cache] = false;
      return;
    }
    const Table both =
        stored.data.empty() ? expect(program_, operation, inputs, {}, arithmetic_).want : stored;
    const uint64_t key_width = program_.values[operation.inputs[0]].width;
    const uint64_t before = both.rows - step.tokens.size();  // rows of earlier steps
    for (size_t t = 0; t < step.tokens.size(); ++t) {
      if (step.positions[t] > caches_[cache].keys.size()) {
        cache_whole_[cache] = false;
        return;
      }
      const auto row = both.row(before + t);
      caches_[cache].store(step.positions[t], row.first(key_width), row.subspan(key_width));
    }
  }

  const op::Program& program_;
  const Trace& trace_;
  Arithmetic arithmetic_;
  Arrangement* arrange_;
  Caches caches_;
  std::vector<bool> cache_whole_, cache_narrow_;
  std::vector<size_t> last_use_;
};

/// Remembers which of a contract's codings fitted a weight type last.
class Chooser {
 public:
  explicit Chooser(std::string contract) : contract_(std::move(contract)) {}

  std::pair<Seen, Coding> look(const op::Program& program, const Walk::Item& item,
                               const Arithmetic& arithmetic) {
    if (!op::multiplies(item.operation)) {
      const Judged judged = widened(expect(program, item.operation, item.inputs, {}, arithmetic),
                                    item.rounding, item.terms);
      return {compare(*item.got, judged), {}};
    }
    const uint32_t type = program.weights[item.operation.weight].type;
    const std::vector<Coding> list = judge::codings(contract_, type);
    size_t& preferred = preferred_[type];
    std::pair<Seen, Coding> best;
    for (size_t tried = 0; tried < list.size(); ++tried) {
      const size_t index = (preferred + tried) % list.size();
      const Judged judged = widened(
          expect(program, item.operation, item.inputs, list[index], arithmetic), item.rounding);
      const Seen seen = compare(*item.got, judged);
      if (tried == 0 || seen.failures < best.first.failures) best = {seen, list[index]};
      if (seen.failures > 0) continue;
      preferred = index;
      break;
    }
    return best;
  }

 private:
  std::string contract_;
  std::map<uint32_t, size_t> preferred_;
};

}  // namespace

/// Copies that a trace doesn't hold, and sums that the engine adds up in another order, are judged
/// where they are read.
static void settle_copies(const op::Program& program, const Trace& trace, Side& side) {
  for (size_t i = 0; i < side.operations.size(); ++i) {
    JudgedOperation& judged = side.operations[i];
    const op::Operation& operation = program.operations[i];
    if (!(op::row_of(operation).moves || trace.is_merged(operation)) ||
        judged.verdict != Verdict::unmeasured || judged.seen.elements > 0)
      continue;
    judged.verdict = Verdict::pass;
    judged.why = "judged with what reads it";
  }
}

/// "assay/1" of "assay/1 kv=f32".
static std::string declared_name(const Trace& trace) {
  const std::string declared = trace.metadata("contract");
  return declared.substr(0, declared.find(' '));
}

/// "f16" or "f32": as the trace says, else as the keys that it shows in its cache are (all but one in
/// 200, which may be wrong); "" unknown.
static std::string cache_type(const Trace& trace) {
  if (const std::string stated = trace.metadata("kv"); !stated.empty()) return stated;
  const auto* keys = trace.find(0, "blk.0.kv_k");
  if (!keys) return "";
  const auto values = trace.values(*keys);
  if (!values) return "";
  const auto others = std::ranges::count_if(
      values->data, [](double x) { return x != judge::round_to_f16(x) && !std::isnan(x); });
  return uint64_t(others) * 200 <= values->data.size() ? "f16" : "f32";
}

std::string find_contract(const op::Program& program, const Trace& trace) {
  const std::string declared = declared_name(trace);
  std::vector<std::string> names;
  if (std::ranges::find(judge::contracts(), declared) != judge::contracts().end())
    names.push_back(declared);
  for (const std::string_view name : judge::contracts())
    if (name != declared && name != "exact") names.emplace_back(name);
  std::map<std::string, uint64_t> passes, asked;
  const std::string engine = trace.metadata("engine"), kv = cache_type(trace);
  for (const std::string& name : names) {
    const Arithmetic arithmetic = judge::arithmetic_of(name, engine, kv);
    Chooser chooser(name);
    Walk walk(program, trace, arithmetic);
    const Status walked = walk.run([&](const Walk::Item& item) {
      if (item.step > 0 || (item.operation.layer != op::none && item.operation.layer > 1))
        return false;
      // What rounds differently from contract to contract. Weights of floats fit several.
      const bool tells = op::multiplies(item.operation) || item.operation.is<op::Attend>();
      if (tells && item.got && !item.lacks) {
        passes[name] += chooser.look(program, item, arithmetic).first.failures == 0;
        ++asked[name];
      }
      return true;
    });
    (void)walked;  // what is wrong with the trace, judge_trace says
    if (name == declared && 2 * passes[name] > asked[name]) return name;
  }
  std::string best = names[0];
  for (const std::string& name : names)
    if (passes[name] > passes[best]) best = name;
  return best;
}

/// "F16" or "BF16": the first such type of an output.
static std::string narrow_type(const Trace& trace) {
  for (const auto& tensor : trace.tensors())
    if (trace.rounding(tensor) > 0x1p-24) return trace.type_of(tensor);
  return "";
}

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
  if (trace.holds_statistics()) return {};
  std::vector<std::string> notes = settle_halves(program, trace);
  if (!Arrangement::is_needed(trace)) return notes;
  Arrangement arrangement(trace);
  Walk walk(program, trace, {}, &arrangement);
  const Status walked = walk.run([](const Walk::Item&) { return true; });
  (void)walked;  // what is wrong with the trace, judge_trace says
  for (std::string& note : arrangement.notes()) notes.push_back(std::move(note));
  return notes;
}

Result<Side> judge_trace(const op::Program& program, const Trace& trace) {
  if (trace.holds_statistics())
    return Error{
        fmt::format("{}: the trace holds statistics, not values: it can be shown, not judged; "
                    "record it without "
                    "--stats",
                    trace.path())};
  const std::string kv = cache_type(trace);
  if (!kv.empty() && kv != "f16" && kv != "f32")
    return Error{fmt::format("{}: its cache is of type '{}'; only f16 and f32 can be judged",
                             trace.path(), kv)};
  Side side;
  side.engine = trace.metadata("engine").empty() ? "unknown engine" : trace.metadata("engine");
  side.declared = trace.metadata("contract");
  side.contract = find_contract(program, trace);
  side.found = declared_name(trace) != side.contract;
  side.arithmetic = judge::arithmetic_of(side.contract, side.engine, kv);
  side.operations.resize(program.operations.size());
  Chooser chooser(side.contract);
  Walk walk(program, trace, side.arithmetic);
  const Status walked = walk.run([&](const Walk::Item& item) {
    JudgedOperation& judged = side.operations[item.index];
    if (!item.got || item.lacks) {
      if (judged.verdict == Verdict::pass) judged.verdict = Verdict::unmeasured;
      judged.why = !item.got ? trace.why_missing(item.step, item.operation)
                             : fmt::format("its input {} is missing", *item.lacks);
      if (item.step > 0) judged.why += fmt::format(" (step {})", item.step);
      return true;
    }
    const auto [seen, coding] = chooser.look(program, item, side.arithmetic);
    judged.seen.add(seen);
    judged.coding = coding;
    if (seen.failures > 0 && item.narrow && seen.not_finite == 0) {
      if (judged.verdict == Verdict::pass) judged.verdict = Verdict::unmeasured;
      judged.why = "what it reads or gives is stored in too few bits";
      if (side.narrow.empty()) side.narrow = narrow_type(trace);
    } else if (seen.failures > 0 && seen.failures == seen.undefined) {
      if (judged.verdict != Verdict::fail) judged.verdict = Verdict::unmeasured;
      if (judged.why.empty())
        judged.why = fmt::format("{} of {} elements have no finite exact result{}", seen.undefined,
                                 seen.elements,
                                 item.operation.is<op::Attend>() && side.arithmetic.f16_cache
                                     ? ", as keys and values beyond 65504 are infinite in an f16 "
                                       "cache; --kv f32 avoids it"
                                     : "");
    } else if (seen.failures > 0) {
      judged.verdict = Verdict::fail;
      side.failures.push_back({item.step, item.index, seen});
    } else if (judged.verdict == Verdict::unmeasured && judged.why.empty()) {
      judged.verdict = Verdict::pass;
    }
    if (item.operation.is<op::Matmul>() && item.operation.layer == 0 && item.step == 0) {
      judged.exact_nmse =
          nmse(*item.got,
               judge::multiply_only(program.weights[item.operation.weight],
                                    program.bias_of(item.operation), *item.inputs.values[0], {}));
    }
    return true;
  });
  if (!walked) return walked.error();
  settle_copies(program, trace, side);
  return side;
}

Result<std::vector<Table>> errors_of(const op::Program& program, const Trace& trace,
                                     const Side& side) {
  std::vector<Table> out;
  if (side.failures.empty()) return out;
  Walk walk(program, trace, side.arithmetic);
  const Status walked = walk.run([&](const Walk::Item& item) {
    const Failure& next = side.failures[out.size()];
    if (item.step != next.step || item.index != next.operation) return true;
    const Coding& coding = side.operations[item.index].coding;
    Table difference = *item.got;
    const Table want = expect(program, item.operation, item.inputs, coding, side.arithmetic).want;
    for (size_t i = 0; i < want.data.size(); ++i) difference.data[i] -= want.data[i];
    out.push_back(std::move(difference));
    return out.size() < side.failures.size();
  });
  if (!walked) return walked.error();
  return out;
}

Result<Scene> scene_at(const op::Program& program, const Trace& trace, const Side& side,
                       uint32_t step, size_t operation) {
  Scene scene;
  std::string missing;
  Chooser chooser(side.contract);
  Walk walk(program, trace, side.arithmetic);
  const Status walked = walk.run([&](const Walk::Item& item) {
    if (item.step != step || item.index != operation) return true;
    scene.step = step;
    scene.operation = operation;
    scene.tokens = trace.steps()[step];
    for (const Table* value : item.inputs.values) scene.inputs.push_back(*value);
    if (item.got) scene.output = *item.got;
    scene.caches = item.inputs.caches[0];
    if (item.lacks) missing = *item.lacks;
    if (item.got && !item.lacks) scene.coding = chooser.look(program, item, side.arithmetic).second;
    scene.arithmetic = side.arithmetic;
    scene.contract = side.contract;
    scene.rounding = item.rounding;
    return false;
  });
  if (!walked) return walked.error();
  if (!missing.empty()) return Error{fmt::format("{}: '{}' is missing", trace.path(), missing)};
  return scene;
}

Judged expect(const op::Program& program, const Scene& scene) {
  Inputs inputs{{}, scene.tokens.view(), {&scene.caches, 1}};
  for (const Table& value : scene.inputs) inputs.values.push_back(&value);
  inputs.got = &scene.output;
  return widened(
      expect(program, program.operations[scene.operation], inputs, scene.coding, scene.arithmetic),
      scene.rounding);
}

}  // namespace assay::diff
