// Faults of an engine's state: each operation is right for what it is given, and what it is given is
// wrong: another slot, a page of another sequence, a position of another step. They are planted between
// the engine and an executor of any device, which runs the shipped code.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "op/executor.h"
#include "op/program.h"

namespace assay::fault {

struct StateFault {
  std::string_view name;
  std::string_view breaks;  ///< the invariant that it is made to break (src/invariants/list.cpp)
};
const std::vector<StateFault>& state_faults();

/// An executor that passes all on to `inner`, which was made with these options, but what the fault
/// alters. `program` must outlive it. Errors: an unknown name.
Result<std::unique_ptr<op::Executor>> make_faulty_state(std::unique_ptr<op::Executor> inner,
                                                        const op::Program& program,
                                                        const op::ExecutorOptions& options,
                                                        std::string_view fault);

}  // namespace assay::fault
