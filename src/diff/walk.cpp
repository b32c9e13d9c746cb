#include "diff/walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "op/kinds.h"
#include "trace/npy.h"

namespace assay::diff {

bool lacks_any(const op::Program& program, const trace::Trace& trace) {
  return std::ranges::any_of(program.operations, [&](const op::Operation& operation) {
    if (operation.is<op::KvStore>() || op::row_of(operation).moves || trace.is_merged(operation))
      return false;
    for (uint32_t step = 0; step < trace.steps().size(); ++step)
      if (!trace.find(step, operation)) return true;
    return false;
  });
}

Walk::Walk(const op::Program& program, const trace::Trace& trace, Arithmetic arithmetic,
           Before before)
    : program_(program),
      trace_(trace),
      arithmetic_(std::move(arithmetic)),
      before_(std::move(before)),
      caches_(program.caches.size()),
      cache_whole_(program.caches.size(), true),
      cache_narrow_(program.caches.size(), false),
      last_use_(op::last_uses(program)) {}

bool Walk::is_finite(const Item& item) {
  const auto finite = [](const Table* table) {
    return std::ranges::all_of(table->data, [](double x) { return std::isfinite(x); });
  };
  return finite(item.got) && std::ranges::all_of(item.inputs.values, finite);
}

void Walk::compute_missing(Lockstep::CodingOf coding_of, bool with_spread) {
  if (!lacks_any(program_, trace_)) return;
  coding_of_ = std::move(coding_of);
  estimate_ = std::make_unique<Estimate>(program_, arithmetic_, coding_of_, with_spread);
}

Status Walk::run(const Visit& visit) {
  for (uint32_t step = 0; step < trace_.steps().size(); ++step) {
    const auto done = run_step(step, visit);
    if (!done) return done.error();
    if (!*done) break;
  }
  return ok();
}

Result<bool> Walk::run_step(uint32_t number, const Visit& visit) {
  const trace::TraceStep& step = trace_.steps()[number];
  if (const Status good = check(step, number); !good) return good.error();
  if (estimate_) estimate_->begin(step);
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
    if (before_) before_(number, operation, inputs, lacks != nullptr);
    const double rounding = rounding_of(number, operation);
    const bool reads_computed = estimate_ && estimate_->reads_computed(operation);
    if (operation.is<op::KvStore>()) {
      const auto stored = read_stored(number, operation, step);
      if (!stored) return stored.error();
      inputs.got = stored->data.empty() ? nullptr : &*stored;
      // What it shows is not judged by what was computed: attention reads what it shows.
      if (!(reads_computed && !stored->data.empty()) &&
          !visit({number, i, operation, inputs, stored->data.empty() ? nullptr : &*stored, lacks,
                  nullptr, rounding, narrow_input}))
        return false;
      if (narrow_input) cache_narrow_[operation.as<op::KvStore>()->cache] = true;
      store(i, inputs, *stored, step, lacks);
      forget(operation, i);
      continue;
    }
    auto got = read(number, operation, step);
    if (!got) return got.error();
    const bool moves = op::row_of(operation).moves, missing = got->data.empty() && !lacks;
    // Copies need no trace: what they give is what they are given.
    Judged copied;
    if (missing && moves) {
      copied = expect(program_, operation, inputs, {}, arithmetic_);
      *got = copied.want;
    }
    const bool merged = missing && !moves && !reads_computed && trace_.is_merged(operation);
    const auto of = operation.is<op::Add>() && !lacks ? terms_of(operation, inputs, terms, merged)
                                                      : std::nullopt;
    inputs.got = got->data.empty() ? nullptr : &*got;
    narrow[operation.output] = rounding > 0 || (moves && narrow_input);
    Table spread;
    if (reads_computed && !lacks && !missing) spread = estimate_->spread(i);
    if (!visit({number, i, operation, inputs, got->data.empty() ? nullptr : &*got, lacks,
                of ? &*of : nullptr, rounding, narrow_input || rounding > 0,
                spread.data.empty() ? nullptr : &spread}))
      return false;
    if (merged) {
      *got = judge::formula(program_, operation, inputs);
      terms[operation.output] = of;  // of a sum
    }
    if (estimate_ && missing && !merged)
      *got = estimate_->compute(
          i, moves ? copied : expect(program_, operation, inputs, coding_of_(i), arithmetic_));
    else if (estimate_ && !got->data.empty())
      estimate_->know(operation.output, *got);
    values[operation.output] = std::move(*got);
    for (const uint32_t value : operation.inputs)
      if (last_use_[value] == i) values[value] = {};
    forget(operation, i);
  }
  return true;
}

/// Of the estimate what nothing reads any more.
void Walk::forget(const op::Operation& operation, size_t index) {
  if (!estimate_) return;
  for (const uint32_t value : operation.inputs)
    if (last_use_[value] == index) estimate_->forget(value);
}

/// Of a sum that the engine has not, or that reads one.
std::optional<Terms> Walk::terms_of(const op::Operation& operation, const Inputs& inputs,
                                    const std::vector<std::optional<Terms>>& known, bool merged) {
  Terms of{Table(inputs.values[0]->rows, inputs.values[0]->width)};
  for (size_t i = 0; i < operation.inputs.size(); ++i) {
    const auto& input = known[operation.inputs[i]];
    const Table& size = input ? input->size : *inputs.values[i];
    if (input) of.additions += input->additions;
    for (size_t j = 0; j < size.data.size(); ++j) of.size.data[j] += std::fabs(size.data[j]);
  }
  return merged || of.additions > 1 ? std::optional(std::move(of)) : std::nullopt;
}

Status Walk::check(const trace::TraceStep& step, uint32_t number) const {
  for (const int32_t token : step.tokens)
    if (uint32_t(token) >= program_.vocabulary)
      return Error{fmt::format("{}: token {} is beyond the model's vocabulary of {}", trace_.path(),
                               token, program_.vocabulary)};
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
double Walk::rounding_of(uint32_t number, const op::Operation& operation) const {
  const trace::TraceTensor* tensor = trace_.find(number, operation);
  const double rounding = tensor ? trace_.rounding(*tensor) : 0;
  const judge::NumberType computed = arithmetic_[judge::family_of(operation)].result;
  return rounding > std::max(0x1p-24, judge::coarse_ulp(computed)) ? rounding : 0;
}

/// The trace's tensor; empty where there is none. Errors: another shape than the program's.
Result<Table> Walk::read(uint32_t number, const op::Operation& operation,
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

Result<Table> Walk::shaped(const trace::TraceTensor& tensor, uint64_t rows, uint64_t width,
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
Result<Table> Walk::read_stored(uint32_t number, const op::Operation& operation,
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
void Walk::store(size_t index, const Inputs& inputs, const Table& stored,
                 const trace::TraceStep& step, const std::string* lacks) {
  const op::Operation& operation = program_.operations[index];
  const uint32_t cache = operation.as<op::KvStore>()->cache;
  if (stored.data.empty() && lacks) {
    cache_whole_[cache] = false;
    return;
  }
  Judged kept;
  if (stored.data.empty()) kept = expect(program_, operation, inputs, {}, arithmetic_);
  const Table& both = stored.data.empty() ? kept.want : stored;
  const uint64_t key_width = program_.values[operation.inputs[0]].width;
  const uint64_t before = both.rows - step.tokens.size();  // rows of earlier steps
  for (size_t t = 0; t < step.tokens.size(); ++t) {
    if (step.positions[t] > caches_[cache].keys.size()) {
      cache_whole_[cache] = false;
      return;
    }
    const auto row = both.row(before + t);
    caches_[cache].store(step.positions[t], row.first(key_width), row.subspan(key_width));
    if (kept.slack.data.empty()) continue;
    const auto slack = std::as_const(kept.slack).row(t);
    caches_[cache].allow(slack.first(key_width), slack.subspan(key_width));
  }
  if (!estimate_) return;
  if (stored.data.empty())
    estimate_->store(index);
  else
    estimate_->store(index, stored);
}

}  // namespace assay::diff
