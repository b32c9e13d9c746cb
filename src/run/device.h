// The one place where a device's name becomes an executor.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "device/queue.h"
#include "op/executor.h"

namespace assay::run {

/// `device` must not be "auto". The program must outlive the executor. Errors: a device that this
/// build does not have, or an instruction set that this machine lacks (exit 3); a contract that the
/// device does not run.
Result<std::unique_ptr<op::Executor>> make_executor(const std::string& device,
                                                    const op::Program& program,
                                                    const op::ExecutorOptions& options);

/// The device that "auto" chooses on this machine: a GPU that this build can use, else the cpu,
/// with the reason why no GPU was chosen. After that it is treated like any other name: what the
/// device cannot do is an error.
struct Choice {
  std::string device, reason;
};
Choice choose_device();

/// The queue of a device that has one. Errors: a device that this build or machine does not have,
/// or that has no queue (exit 3).
Result<std::unique_ptr<device::Queue>> make_queue(const std::string& device);

/// "cpu", "cuda", "cuda:1", …: what --device takes, for help and errors.
std::string device_names();

/// The values of ExecutorOptions::isa that this machine supports, the plainest first and the
/// device's own choice last; empty if the device has no instruction sets.
std::vector<std::string> instruction_sets(std::string_view device);

}  // namespace assay::run
