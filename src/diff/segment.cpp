#include "diff/segment.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "diff/contracts.h"
#include "diff/recorded.h"
#include "diff/walk.h"
#include "op/kinds.h"

namespace assay::diff {

static double squares(std::span<const double> row) {
  return std::inner_product(row.begin(), row.end(), row.begin(), 0.0);
}

Result<Segment> Segment::open(const op::Program& program, const trace::Trace& trace,
                              const Side& side, const Failure& failure) {
  const bool is_kept = side.closing && side.closing->step == failure.step &&
                       side.closing->operation == failure.operation;
  auto closing = is_kept ? Result<Scene>(*side.closing)
                         : scene_at(program, trace, side, failure.step, failure.operation);
  if (!closing) return closing.error();
  Segment segment(program, side, failure,
                  Lockstep(
                      program, side.arithmetic,
                      [codings = first_codings(program, side.contract), &side,
                       last = failure.operation](size_t operation) {
                        return operation == last ? side.operations[last].coding
                                                 : codings(operation);
                      },
                      1));
  Lockstep& base = segment.base_;
  base.begin(trace.steps()[failure.step]);
  const auto gather = [&](uint32_t step, const op::Operation& operation, const Inputs& inputs,
                          bool) {
    const auto index = size_t(&operation - program.operations.data());
    if (step != failure.step || index < failure.segment.front()) return;
    for (size_t i = 0; i < operation.inputs.size(); ++i)
      if (base.at(operation.inputs[i]).data.empty())
        base.give(operation.inputs[i], *inputs.values[i]);
    if (index == failure.operation) base.set_caches(inputs.caches[0]);
  };
  Walk walk(program, trace, side.arithmetic, gather);
  walk.compute_missing(first_codings(program, side.contract), false);
  const Status walked = walk.run([&](const Walk::Item& item) {
    return item.step != failure.step || item.index != failure.operation;
  });
  if (!walked) return walked.error();
  segment.closing_ = std::move(*closing);
  segment.expected_ = expect(program, segment.closing_);
  return segment;
}

Scene Segment::scene(size_t index) const {
  const op::Operation& operation = program_->operations[index];
  Scene scene;
  scene.step = failure_->step;
  scene.operation = index;
  scene.tokens = closing_.tokens;
  for (const uint32_t value : operation.inputs) scene.inputs.push_back(base_.at(value));
  scene.caches = base_.caches(0);
  scene.coding = base_.coding_of(index);
  scene.arithmetic = side_->arithmetic;
  scene.contract = side_->contract;
  scene.output = diff::expect(*program_, scene).want;
  return scene;
}

Judged Segment::carried(size_t operation, const Table& output) const {
  return carry(base_, {&operation, 1}, &output);
}

Judged Segment::carried(const op::Program& program, std::span<const size_t> operations) const {
  Lockstep run = base_;
  run.follow(program);
  return carry(std::move(run), operations, nullptr);
}

/// These operations are altered: as the run's program has them, or one gives `output`.
Judged Segment::carry(Lockstep run, std::span<const size_t> operations, const Table* output) const {
  std::vector<bool> altered(program_->values.size(), false);
  std::vector<bool> altered_cache(program_->caches.size(), false);
  for (size_t i = operations.front(); i < failure_->operation; ++i) {
    const op::Operation& operation = program_->operations[i];
    const bool is_altered = std::ranges::find(operations, i) != operations.end();
    if (was_recorded(*program_, *side_, i)) continue;
    if (!is_altered && !reads_any(operation, altered, altered_cache)) continue;
    if (const auto* store = operation.as<op::KvStore>()) {
      run.store(i);
      altered_cache[store->cache] = true;
    } else {
      run.put(operation.output, is_altered && output ? *output : run.compute(i));
      altered[operation.output] = true;
    }
  }
  Judged out = expected_;
  out.want = run.compute(failure_->operation);
  // What grows carries its errors along.
  for (uint64_t t = 0; t < out.want.rows; ++t) {
    const double size = std::sqrt(squares(out.want.row(t)) / squares(expected_.want.row(t)));
    if (!(size > 1) || !std::isfinite(size)) continue;
    for (uint64_t i = 0; i < out.want.width; ++i) out.scale.row(t)[i] *= size;
  }
  return out;
}

Segment Segment::first(uint64_t tokens) const {
  Segment out = *this;
  const auto cut = [&](Table& table) {
    const uint64_t all = closing_.tokens.tokens.size();
    if (table.rows != all || table.data.empty()) return;
    table.rows = tokens;
    table.data.resize(tokens * table.width);
  };
  trace::TraceStep& step = out.closing_.tokens;
  step.tokens.resize(tokens);
  step.positions.resize(tokens);
  out.base_.cut(step, cut);
  for (Table& input : out.closing_.inputs) cut(input);
  for (Table* table : {&out.closing_.output, &out.closing_.spread, &out.expected_.want,
                       &out.expected_.scale, &out.expected_.limit, &out.expected_.slack})
    cut(*table);
  return out;
}

}  // namespace assay::diff
