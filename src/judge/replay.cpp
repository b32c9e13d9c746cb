#include "judge/replay.h"

#include <algorithm>
#include <cassert>

#include "op/kinds.h"

namespace assay::judge {

Replay::Replay(const op::Program& program, const op::ExecutorOptions& options,
               std::function<bool(const op::Operation&)> wanted)
    : program_(program),
      contract_(options.contract == op::Contract::assay1 ? "assay/1" : "f32"),
      wanted_(std::move(wanted)),
      values_(program.values.size()),
      last_use_(op::last_uses(program)),
      caches_(options.sequences, Caches(program.caches.size())) {
  arithmetic_.kv.type = options.cache == op::CacheType::f16 ? NumberType::f16 : NumberType::f32;
  for (const op::Operation& operation : program.operations)
    errors_.push_back({operation.name, op::name_of(operation)});
}

void Replay::begin_step(const op::Step& step) {
  tokens_.assign(step.tokens.begin(), step.tokens.end());
  positions_.assign(step.positions.begin(), step.positions.end());
  sequences_.assign(step.sequences.begin(), step.sequences.end());
  selected_.assign(step.selected.begin(), step.selected.end());
  for (Table& value : values_) value = {};
  ++steps_;
}

uint64_t Replay::failures() const {
  uint64_t sum = 0;
  for (const OperationError& error : errors_) sum += error.failures;
  return sum;
}

/// Keys and values side by side, of all keys followed by all values.
static Table side_by_side(std::span<const float> both, uint64_t tokens, uint64_t key_width) {
  Table out(tokens, both.size() / tokens);
  const uint64_t value_width = out.width - key_width;
  for (uint64_t t = 0; t < tokens; ++t) {
    const auto keys = both.subspan(t * key_width, key_width);
    const auto values = both.subspan(tokens * key_width + t * value_width, value_width);
    std::ranges::copy(values, std::ranges::copy(keys, out.row(t).begin()).out);
  }
  return out;
}

void Replay::operator()(const op::Operation& operation, std::span<const float> output) {
  const size_t index = size_t(&operation - program_.operations.data());
  assert(index < program_.operations.size() && steps_ > 0);
  const bool stores = operation.is<op::KvStore>();
  Table got;
  if (stores) {
    got = side_by_side(output, tokens_.size(), program_.values[operation.inputs[0]].width);
  } else {
    got.width = program_.values[operation.output].width;
    got.rows = output.size() / got.width;
    got.data.assign(output.begin(), output.end());
  }
  if (!wanted_ || wanted_(operation)) judge(operation, got, errors_[index]);
  if (stores)
    store(operation, got);
  else
    values_[operation.output] = std::move(got);
  for (uint32_t v : operation.inputs)
    if (last_use_[v] == index) values_[v] = {};
}

void Replay::judge(const op::Operation& operation, const Table& got, OperationError& error) {
  Inputs inputs{{}, {tokens_, positions_, sequences_, selected_}, caches_};
  for (const uint32_t value : operation.inputs) inputs.values.push_back(&values_[value]);
  inputs.got = &got;
  Coding coding;
  if (op::multiplies(operation))
    coding = codings(contract_, program_.weights[operation.weight].type)[0];
  Judged judged = expect(program_, operation, inputs, coding, arithmetic_);
  judged.slack = {};  // an executor of the contract makes the very codes: it has no ties
  const Seen seen = compare(got, judged);
  if (error.elements == 0 ||
      badness(seen.max_u, seen.limit_u) > badness(error.max_u, error.limit_u)) {
    error.max_u = seen.max_u;
    error.limit_u = seen.limit_u;
    error.worst_step = steps_ - 1;
    error.worst_token = seen.token;
    error.worst_row = seen.row;
  }
  error.elements += seen.elements;
  error.failures += seen.failures;
  error.undefined += seen.undefined;
}

void Replay::store(const op::Operation& operation, const Table& got) {
  const uint64_t key_width = program_.values[operation.inputs[0]].width;
  for (uint64_t t = 0; t < got.rows; ++t)
    caches_[sequences_[t]][operation.as<op::KvStore>()->cache].store(
        positions_[t], got.row(t).first(key_width), got.row(t).subspan(key_width));
}

std::vector<OperationError> worst_by_kind(std::span<const OperationError> errors) {
  std::vector<OperationError> worst;
  for (const OperationError& error : errors) {
    OperationError* known = nullptr;
    for (OperationError& w : worst)
      if (w.kind == error.kind) known = &w;
    if (!known) {
      worst.push_back(error);
      continue;
    }
    const uint64_t elements = known->elements + error.elements,
                   failures = known->failures + error.failures;
    if (badness(error.max_u, error.limit_u) > badness(known->max_u, known->limit_u)) *known = error;
    known->elements = elements;
    known->failures = failures;
  }
  return worst;
}

}  // namespace assay::judge
