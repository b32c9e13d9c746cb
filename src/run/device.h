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

/// `device` is no "auto". The program must outlive the executor. Errors: a device that this build
/// does not have, or an instruction set that this machine lacks (exit 3); a contract that the
/// device does not run.
Result<std::unique_ptr<op::Executor>> make_executor(const std::string& device,
                                                    const op::Program& program,
                                                    const op::ExecutorOptions& options);

/// What "auto" stands for on this machine: a GPU that this build can use, else the cpu, with the
/// reasons why no GPU. Once chosen it is like any other name: what it cannot do is an error.
struct Choice {
  std::string device, reason;
};
Choice choose_device();

/// The queue of a device that has one. Errors: a device that this build or machine does not have,
/// or that is no queue (exit 3).
Result<std::unique_ptr<device::Queue>> make_queue(const std::string& device);

/// "cpu", "cuda", "cuda:1", …: what --device takes, for help and errors.
std::string device_names();

/// What can be forced with ExecutorOptions::isa on this machine, the plainest first and
/// the device's own choice last; empty where there is none.
std::vector<std::string> instruction_sets(std::string_view device);

}  // namespace assay::run
