#include "diff/segment.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "diff/contracts.h"
#include "diff/estimate.h"
#include "diff/recorded.h"
#include "diff/walk.h"
#include "op/kinds.h"

namespace assay::diff {

static double squares(std::span<const double> row) {
  return std::inner_product(row.begin(), row.end(), row.begin(), 0.0);
}

/// Those that operations from `first` to `last` store into or read.
static Caches caches_of(const op::Program& program, size_t first, size_t last, const Caches& all) {
  Caches out(all.size());
  for (size_t i = first; i <= last; ++i) {
    const auto* store = program.operations[i].as<op::KvStore>();
    const auto* attend = program.operations[i].as<op::Attend>();
    if (store || attend) {
      const uint32_t cache = store ? store->cache : attend->cache;
      out[cache] = all[cache];
    }
  }
  return out;
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
                      [codings = hidden_codings(program, side.contract, side.hidden_coding), &side,
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
    if (index == failure.operation)
      base.set_caches(caches_of(program, failure.segment.front(), index, inputs.caches[0]));
  };
  Walk walk(program, trace, side.arithmetic, gather);
  walk.compute_missing(hidden_codings(program, side.contract, side.hidden_coding), false);
  const Status walked = walk.run([&](const Walk::Item& item) {
    return item.step != failure.step || item.index != failure.operation;
  });
  if (!walked) return walked.error();
  segment.closing_ = std::move(*closing);
  segment.expected_ = expect(program, segment.closing_);
  return segment;
}

Scene Segment::scene(size_t index) const {
  Scene scene = reading(
      index, [&](uint32_t value) -> const Table& { return base_.at(value); }, base_.caches(0));
  scene.output = diff::expect(*program_, scene).want;
  return scene;
}

Scene Segment::reading(size_t index, const std::function<const Table&(uint32_t)>& at,
                       const Caches& caches) const {
  Scene scene;
  scene.step = failure_->step;
  scene.operation = index;
  scene.tokens = closing_.tokens;
  for (const uint32_t value : program_->operations[index].inputs) scene.inputs.push_back(at(value));
  scene.caches = caches;
  scene.coding = base_.coding_of(index);
  scene.arithmetic = side_->arithmetic;
  scene.contract = side_->contract;
  return scene;
}

Judged Segment::carried(const Altered& altered) const {
  Lockstep run = base_;
  std::vector<bool> differs(program_->values.size(), false);
  std::vector<bool> cache_differs(program_->caches.size(), false);
  for (size_t i = altered.operations.front(); i < failure_->operation; ++i) {
    const op::Operation& operation = program_->operations[i];
    const bool is_altered = std::ranges::find(altered.operations, i) != altered.operations.end();
    if (was_recorded(*program_, *side_, i)) continue;
    if (!is_altered && !reads_any(operation, differs, cache_differs)) continue;
    if (const auto* store = operation.as<op::KvStore>()) {
      run.store(i);
      cache_differs[store->cache] = true;
      continue;
    }
    run.follow(is_altered && altered.program ? *altered.program : *program_);
    run.put(operation.output, is_altered && altered.output ? altered.output->want : run.compute(i));
    run.follow(*program_);
    differs[operation.output] = true;
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

Judged Segment::judged(const Altered& altered) const {
  Estimate runs(
      *program_, side_->arithmetic, [this](size_t i) { return base_.coding_of(i); }, true);
  runs.begin(closing_.tokens);
  runs.set_caches(base_.caches(0));
  std::vector<Table> own(program_->values.size());  // of the first run
  for (uint32_t value = 0; value < own.size(); ++value) {
    own[value] = base_.at(value);
    if (!own[value].data.empty()) runs.know(value, own[value]);
  }
  const auto read = [&](size_t index) {
    return reading(
        index, [&](uint32_t value) -> const Table& { return own[value]; }, runs.caches());
  };
  for (size_t i = failure_->segment.front(); i < failure_->operation; ++i) {
    const op::Operation& operation = program_->operations[i];
    if (was_recorded(*program_, *side_, i)) continue;
    if (operation.is<op::KvStore>()) {
      runs.store(i);
      continue;
    }
    const bool is_altered = std::ranges::find(altered.operations, i) != altered.operations.end();
    const op::Program& program = is_altered && altered.program ? *altered.program : *program_;
    const Judged judged = is_altered && altered.output ? *altered.output : expect(program, read(i));
    own[operation.output] = is_altered ? runs.replace(i, judged, program) : runs.compute(i, judged);
  }
  Scene scene = read(failure_->operation);
  scene.output = closing_.output;
  scene.rounding = closing_.rounding;
  scene.spread = runs.spread(failure_->operation);
  return expect(*program_, scene);
}

Judged Segment::closed(Judged altered) const {
  Table& slack = altered.slack;
  if (slack.data.empty()) slack = Table(altered.want.rows, altered.want.width);
  for (uint64_t t = 0; t < slack.rows; ++t)
    for (uint64_t i = 0; i < slack.width; ++i) {
      const double limit = altered.limit_at(t, i) * judge::unit * altered.scale.row(t)[i];
      slack.row(t)[i] = std::max(slack.row(t)[i], closing_.spread.row(t)[i] - limit);
    }
  return altered;
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
