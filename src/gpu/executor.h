// The executor that runs a program's kernels on any queue.
#pragma once

#include <memory>
#include <string>

#include "device/queue.h"
#include "op/executor.h"

namespace assay::gpu {

/// `device` is the name that the executor reports: "cuda", "emulated", "metal". Errors: a contract
/// or a shape that the kernels do not support, too little memory (with the plan in numbers), and
/// what the queue refuses. run() throws op::DeviceFailure if the device fails during a step.
Result<std::unique_ptr<op::Executor>> make_executor(std::string device,
                                                    std::unique_ptr<device::Queue> queue,
                                                    const op::Program& program,
                                                    const op::ExecutorOptions& options);

}  // namespace assay::gpu
