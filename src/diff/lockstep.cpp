#include "diff/lockstep.h"

#include <algorithm>

#include "judge/product.h"

namespace assay::diff {

using judge::Caches, judge::Inputs, judge::Table;

bool reads_any(const op::Operation& operation, const std::vector<bool>& values,
               const std::vector<bool>& caches) {
  const auto* attend = operation.as<op::Attend>();
  return (attend && caches[attend->cache]) ||
         std::ranges::any_of(operation.inputs, [&](uint32_t value) { return values[value]; });
}

Lockstep::Lockstep(const op::Program& program, const judge::Arithmetic& arithmetic,
                   CodingOf coding_of, uint64_t runs)
    : program_(&program),
      arithmetic_(arithmetic),
      coding_of_(std::move(coding_of)),
      caches_(runs, Caches(program.caches.size())) {}

void Lockstep::begin(const trace::TraceStep& step) {
  step_ = step;
  values_.assign(program_->values.size(), {});
}

void Lockstep::give(uint32_t value, const Table& one) {
  Table all(runs() * one.rows, one.width);
  for (uint64_t run = 0; run < runs(); ++run)
    std::ranges::copy(one.data, all.data.begin() + std::ptrdiff_t(run * one.data.size()));
  put(value, std::move(all));
}

void Lockstep::cut(const trace::TraceStep& step, const std::function<void(Table&)>& cut) {
  step_ = step;
  for (Table& value : values_) cut(value);
}

/// The rows of one run.
Table Lockstep::part(uint32_t value, uint64_t run) const {
  const Table& all = values_[value];
  Table out(all.rows / runs(), all.width);
  std::copy_n(all.data.begin() + std::ptrdiff_t(run * out.data.size()), out.data.size(),
              out.data.begin());
  return out;
}

Table Lockstep::compute(size_t index, uint64_t run) const {
  const op::Operation& operation = program_->operations[index];
  std::vector<Table> parts;
  for (const uint32_t input : operation.inputs) parts.push_back(part(input, run));
  if (operation.is<op::Matmul>())
    return judge::multiply_only(program_->weights[operation.weight], program_->bias_of(operation),
                                parts[0], coding_of_(index));
  Inputs inputs{{}, step_.view(), {&caches_[run], 1}};
  for (const Table& table : parts) inputs.values.push_back(&table);
  return judge::expect(*program_, operation, inputs, coding_of_(index), arithmetic_).want;
}

Table Lockstep::compute(size_t index) const {
  const op::Operation& operation = program_->operations[index];
  // All rows meet each weight as soon as it is decoded.
  if (operation.is<op::Matmul>())
    return judge::multiply_only(program_->weights[operation.weight], program_->bias_of(operation),
                                values_[operation.inputs[0]], coding_of_(index));
  const op::Value& value = program_->values[operation.output];
  const uint64_t rows = value.selected ? step_.selected.size() : step_.tokens.size();
  Table out(runs() * rows, value.width);
  judge::in_parallel(
      runs(),
      [&](uint64_t first, uint64_t last) {
        for (; first < last; ++first)
          std::ranges::copy(compute(index, first).data,
                            out.data.begin() + std::ptrdiff_t(first * rows * value.width));
      },
      1);
  return out;
}

void Lockstep::store(const op::Operation& operation, const Table& both, uint64_t run) {
  const uint64_t key_width = program_->values[operation.inputs[0]].width;
  judge::Cache& cache = caches_[run][operation.as<op::KvStore>()->cache];
  const uint64_t before = both.rows - step_.tokens.size();  // rows of earlier steps
  for (size_t t = 0; t < step_.tokens.size(); ++t) {
    const auto row = both.row(before + t);
    cache.store(step_.positions[t], row.first(key_width), row.subspan(key_width));
  }
}

void Lockstep::store(size_t index) {
  const op::Operation& operation = program_->operations[index];
  for (uint64_t run = 0; run < runs(); ++run) {
    const Table keys = part(operation.inputs[0], run), values = part(operation.inputs[1], run);
    const Inputs inputs{{&keys, &values}, step_.view()};
    store(operation, judge::expect(*program_, operation, inputs, {}, arithmetic_).want, run);
  }
}

void Lockstep::store(size_t index, const Table& both) {
  for (uint64_t run = 0; run < runs(); ++run) store(program_->operations[index], both, run);
}

void Lockstep::set_caches(const Caches& caches) {
  std::ranges::fill(caches_, caches);
}

}  // namespace assay::diff
