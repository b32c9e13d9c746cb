// Runs a case again: the stored output against the judge, and the same operation on a device.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "cases/case_file.h"
#include "op/executor.h"

namespace assay::cases {

/// Makes the device's executor for a program; it gets the options that the case asks for.
using MakeExecutor =
    std::function<Result<std::unique_ptr<op::Executor>>(const op::Program&, op::ExecutorOptions)>;

struct Replayed {
  judge::Seen stored;        ///< the engine's output under its own contract
  bool as_recorded = false;  ///< it fails at the same element, by as much, as when it was written
  judge::Seen device;        ///< this device's under this device's
  std::string name, isa, contract;
  std::string sentence;
};

/// The device runs assay/1, or f32 where the case's engine does. Errors: those of `make`.
Result<Replayed> replay(const Case& the, const MakeExecutor& make);

/// The fixed shape assay.replay/1.
std::string to_json(const Case& the, const Replayed& replayed);

}  // namespace assay::cases
