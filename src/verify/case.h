// A case: a program, the tokens it runs, and the ways in which they are cut into steps.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "op/executor.h"
#include "op/program.h"

namespace assay::verify {

/// A program and the bytes of its weights.
struct Built {
  op::Program program;
  std::deque<std::vector<uint8_t>> bytes;  ///< a deque: the weights' views stay valid
};

/// How the tokens are run: the number of tokens per step, and `copies` sequences side by side.
struct Schedule {
  std::vector<uint32_t> pieces;
  uint32_t copies = 1;
  bool mixed_pages = false;  ///< the cache's pages in an order of their own, else one after another
};

struct Case {
  std::string name;
  const op::Program* program = nullptr;
  std::shared_ptr<const Built> owner;  ///< of `program`; none for a model's
  std::vector<int32_t> tokens;
  uint32_t first_position = 0;      ///< above 0 only where no operation reads the cache
  bool some_rows = false;           ///< two of three rows are selected, else all
  Schedule judged;                  ///< the run that the judge sees
  std::vector<Schedule> schedules;  ///< others, whose bits must be the same
};

/// One step, owned.
struct Step {
  std::vector<int32_t> tokens;
  std::vector<uint32_t> positions, sequences, selected;
  std::vector<uint32_t> pages;  ///< (sequences, groups, stride), or none: pages in order
  uint32_t stride = 0, groups = 1;
  op::Step view() const {
    return {tokens, positions, sequences, selected, {pages, stride, groups}};
  }
};
std::vector<Step> steps_of(const Case& one, const Schedule& schedule);

/// "9+33" for pieces, "33 x 1" where they repeat; "2 sequences of …" for copies.
std::string name_of(const Schedule& schedule);

/// "F32", "Q4_K" of the weight; "f16" of the cache; "f32" where an operation has neither.
std::string_view format_of(const op::Program& program, const op::Operation& operation);
/// "257 x 512", "width 33", "3 heads of 64, 64 turn": what a kernel's path depends on.
std::string shape_of(const op::Program& program, const op::Operation& operation);

/// What each operation gave in one step, in the program's order.
using StepOutputs = std::vector<std::vector<float>>;
using Each = std::function<void(size_t step, const Step&, const StepOutputs&)>;

/// Room for every schedule of the case.
op::ExecutorOptions options_for(const Case& one);
/// Forgets what the executor's caches hold, and runs.
void run(op::Executor& executor, const Case& one, const Schedule& schedule, const Each& each);
/// The same without a sink, as users run it, so that kernels may be fused. Only the last
/// operation's output is given; the others are empty.
void run_untraced(op::Executor& executor, const Case& one, const Schedule& schedule,
                  const Each& each);

}  // namespace assay::verify
