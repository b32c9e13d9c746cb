// An executor in plain f32 loops under assay/1 or f32, single-threaded, which can be told to have
// one fault. It shares no code with the judge (src/reference, src/trace) or with src/cpu; without a
// fault its bits are the contract's.
#pragma once

#include <memory>
#include <optional>

#include "fault/device_queue.h"
#include "fault/faults.h"
#include "op/executor.h"
#include "op/program.h"

namespace assay::fault {

/// A device whose results the fault's are put in place of: its executor, which owns the queue.
struct Device {
  std::unique_ptr<op::Executor> executor;
  OverwritingQueue* queue = nullptr;
};

/// `program` must outlive the executor. The options' contract is assay1 or f32; threads, isa and
/// flush_denormals mean nothing here. With a device, that computes all, traced, but the operations that
/// have the fault, and those that read a cache which one of them wrote.
std::unique_ptr<op::Executor> make_executor(const op::Program& program,
                                            const op::ExecutorOptions& options,
                                            std::optional<Fault> fault = {}, Device device = {});

}  // namespace assay::fault
