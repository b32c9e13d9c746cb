#include "diff/correct_runs.h"

#include <algorithm>

#include "base/mix64.h"
#include "diff/product.h"

namespace assay::diff {

using reference::Table;

namespace {

/// A number that depends on nothing but x.
uint64_t mix(uint64_t x) {
  return splitmix64(x);
}

}  // namespace

CorrectRuns::CorrectRuns(const op::Program& program, const Side& side,
                         std::span<const int32_t> tokens, uint64_t runs, uint64_t seed)
    : program_(program),
      side_(side),
      runs_(runs),
      seed_(mix(seed)),
      values_(program.values.size()),
      caches_(runs, Caches(program.layers)) {
  for (size_t t = 0; t < tokens.size(); ++t) {
    step_.tokens.push_back(tokens[t]);
    step_.positions.push_back(uint32_t(t));
    step_.selected.push_back(uint32_t(t));
  }
}

const Table& CorrectRuns::run(size_t index) {
  const op::Operation& operation = program_.operations[index];
  if (operation.kind == op::Kind::kv_store) {
    for (uint64_t run = 0; run < runs_; ++run) store(operation, run);
    static const Table nothing;
    return nothing;
  }
  Table& out = values_[operation.output];
  out = operation.kind == op::Kind::matmul
            ? multiply_only(program_.weights[operation.weight], program_.bias_of(operation),
                            values_[operation.inputs[0]], side_.operations[index].coding)
            : by_run(operation);
  perturb(out, index, operation);
  return out;
}

/// The rows of one run.
Table CorrectRuns::part(const Table& all, uint64_t run) const {
  Table out(tokens(), all.width);
  std::copy_n(all.data.begin() + std::ptrdiff_t(run * tokens() * all.width), out.data.size(),
              out.data.begin());
  return out;
}

Table CorrectRuns::by_run(const op::Operation& operation) {
  Table out(runs_ * tokens(), program_.values[operation.output].width);
  const auto one_run = [&](uint64_t run) {
    std::vector<Table> parts;
    for (const uint32_t value : operation.inputs) parts.push_back(part(values_[value], run));
    Inputs inputs{{}, &step_, &caches_[run]};
    for (const Table& table : parts) inputs.values.push_back(&table);
    const Table one = judge(program_, operation, inputs, {}, side_.arithmetic).want;
    std::ranges::copy(one.data, out.data.begin() + std::ptrdiff_t(run * one.data.size()));
  };
  in_parallel(
      runs_,
      [&](uint64_t first, uint64_t last) {
        for (; first < last; ++first) one_run(first);
      },
      1);
  return out;
}

void CorrectRuns::store(const op::Operation& operation, uint64_t run) {
  const Table keys = part(values_[operation.inputs[0]], run);
  const Table values = part(values_[operation.inputs[1]], run);
  const Inputs inputs{{&keys, &values}, &step_, nullptr};
  const Table both = judge(program_, operation, inputs, {}, side_.arithmetic).want;
  for (uint64_t t = 0; t < tokens(); ++t)
    caches_[run][operation.layer].store(uint32_t(t), both.row(t).first(keys.width),
                                        both.row(t).subspan(keys.width));
}

/// To f32, and an ulp up or down or neither; attention in f16 as much of f16.
void CorrectRuns::perturb(Table& out, size_t index, const op::Operation& operation) const {
  if (operation.kind == op::Kind::embed || operation.kind == op::Kind::select_rows) return;
  const bool halves = operation.kind == op::Kind::attention && side_.arithmetic.f16_attention;
  const double step = halves ? 0x1p-12 : 0x1p-24;
  const uint64_t key = mix(seed_ ^ mix(index));
  for (uint64_t i = 0; i < out.data.size(); ++i) {
    const double direction = double(mix(key ^ i) % 3) - 1.0;
    out.data[i] = double(float(out.data[i] * (1.0 + step * direction)));
  }
}

}  // namespace assay::diff
