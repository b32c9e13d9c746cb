// The fast CPU executor: contract assay/1 (or f32), weights packed in panels, instruction set
// chosen at run time.
#pragma once

#include <memory>

#include "base/result.h"
#include "op/executor.h"

namespace assay::cpu {

/// The program must outlive the executor. Errors (exit 3): an instruction set that this machine
/// lacks, a machine below the minimum, not enough memory.
Result<std::unique_ptr<op::Executor>> make_executor(const op::Program& program,
                                                    const op::ExecutorOptions& options);

/// The bytes that the executor will allocate: packed weights, KV cache for the whole context, work
/// space.
struct MemoryPlan {
  uint64_t weights = 0, cache = 0, work = 0;
};
MemoryPlan plan_memory(const op::Program& program, const op::ExecutorOptions& options);

}  // namespace assay::cpu
