#include "diff/segment.h"

#include <algorithm>
#include <utility>

#include "diff/walk.h"
#include "op/kinds.h"

namespace assay::diff {

Result<Segment> Segment::open(const op::Program& program, const trace::Trace& trace,
                              const Side& side, const Failure& failure) {
  auto closing = scene_at(program, trace, side, failure.step, failure.operation);
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
  Walk walk(program, trace, side.arithmetic);
  walk.compute_missing(first_codings(program, side.contract));
  walk.before_reading(
      [&](uint32_t step, const op::Operation& operation, const Inputs& inputs, bool) {
        const auto index = size_t(&operation - program.operations.data());
        if (step != failure.step || index < failure.segment.front()) return;
        for (size_t i = 0; i < operation.inputs.size(); ++i)
          if (base.at(operation.inputs[i]).data.empty())
            base.give(operation.inputs[i], *inputs.values[i]);
        if (index == failure.operation) base.set_caches(inputs.caches[0]);
      });
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

Table Segment::carry(size_t index, const Table& output) const {
  if (index == failure_->operation) return output;
  Lockstep run = base_;
  std::vector<bool> altered(program_->values.size(), false);
  std::vector<bool> altered_cache(program_->caches.size(), false);
  const auto reads_altered = [&](const op::Operation& operation) {
    const auto* attend = operation.as<op::Attend>();
    return (attend && altered_cache[attend->cache]) ||
           std::ranges::any_of(operation.inputs, [&](uint32_t value) { return altered[value]; });
  };
  run.put(program_->operations[index].output, output);
  altered[program_->operations[index].output] = true;
  for (size_t i = index + 1; i < failure_->operation; ++i) {
    const op::Operation& operation = program_->operations[i];
    if (was_recorded(*program_, *side_, i) || !reads_altered(operation)) continue;
    if (const auto* store = operation.as<op::KvStore>()) {
      run.store(i);
      altered_cache[store->cache] = true;
    } else {
      run.put(operation.output, run.compute(i));
      altered[operation.output] = true;
    }
  }
  return run.compute(failure_->operation);
}

Seen Segment::compare(size_t operation, const Table& output) const {
  Judged altered = expected_;
  altered.want = carry(operation, output);
  return judge::compare(closing_.output, altered);
}

}  // namespace assay::diff
