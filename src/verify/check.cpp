#include "verify/check.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <thread>

namespace assay::verify {

Judge::Judge(const Case& one, const op::ExecutorOptions& options, uint32_t threads)
    : program_(*one.program) {
  for (uint32_t i = 0; i < threads; ++i)
    replays_.emplace_back(program_, options, [this, i, threads](const op::Operation& operation) {
      return size_t(&operation - program_.operations.data()) % threads == i;
    });
}

void Judge::step(const Step& step, const StepOutputs& outputs) {
  std::vector<std::thread> threads;
  for (judge::Replay& replay : replays_)
    threads.emplace_back([&] {
      replay.begin_step(step.view());
      for (size_t i = 0; i < outputs.size(); ++i) replay(program_.operations[i], outputs[i]);
    });
  for (std::thread& thread : threads) thread.join();
}

std::vector<judge::OperationError> Judge::results() const {
  std::vector<judge::OperationError> results;
  for (size_t i = 0; i < program_.operations.size(); ++i)
    results.push_back(replays_[i % replays_.size()].results()[i]);
  return results;
}

Bits::Bits(const Case& one, op::Executor& executor) : case_(one) {
  const auto count = uint32_t(one.tokens.size());
  run(executor, one, {{count}}, [&](size_t, const Step& step, const StepOutputs& outputs) {
    whole_ = step;
    outputs_ = outputs;
  });
  selected_.assign(count, 0);
  for (size_t row = 0; row < whole_.selected.size(); ++row) selected_[whole_.selected[row]] = row;
}

namespace {

/// Rows of equal width, one after another.
struct Rows {
  std::span<const float> data;
  uint64_t width;
  std::span<const float> row(uint64_t i) const { return data.subspan(i * width, width); }
};

bool same(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}

/// Counts what differs, and keeps the first; elements count from `offset`.
void compare_rows(std::span<const float> got, std::span<const float> want, uint64_t token,
                  uint64_t offset, Difference& difference) {
  for (uint64_t i = 0; i < got.size(); ++i) {
    if (same(got[i], want[i])) continue;
    if (difference.count++ == 0)
      difference = {difference.operation, token, offset + i, 1, got[i], want[i]};
  }
}

}  // namespace

std::vector<Difference> Bits::compare(const Step& step, const StepOutputs& outputs) const {
  std::vector<Difference> differences;
  const op::Program& program = *case_.program;
  const uint64_t all = case_.tokens.size(), count = step.tokens.size();
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].empty()) continue;
    const op::Operation& operation = program.operations[i];
    Difference difference{i};
    const auto token_of = [&](uint64_t t) { return step.positions[t] - case_.first_position; };
    if (operation.is<op::KvStore>()) {
      const uint64_t keys = program.values[operation.inputs[0]].width;
      const uint64_t values = program.values[operation.inputs[1]].width;
      const std::span got(outputs[i]), want(outputs_[i]);
      const Rows parts[4] = {{got.first(count * keys), keys},
                             {want.first(all * keys), keys},
                             {got.subspan(count * keys), values},
                             {want.subspan(all * keys), values}};
      for (uint64_t t = 0; t < count; ++t) {
        compare_rows(parts[0].row(t), parts[1].row(token_of(t)), token_of(t), 0, difference);
        compare_rows(parts[2].row(t), parts[3].row(token_of(t)), token_of(t), keys, difference);
      }
    } else {
      const op::Value& value = program.values[operation.output];
      const Rows got{outputs[i], value.width}, want{outputs_[i], value.width};
      for (uint64_t r = 0; r < outputs[i].size() / value.width; ++r) {
        const uint64_t token = token_of(value.selected ? step.selected[r] : r);
        compare_rows(got.row(r), want.row(value.selected ? selected_[token] : token), token, 0,
                     difference);
      }
    }
    if (difference.count) differences.push_back(difference);
  }
  return differences;
}

}  // namespace assay::verify
