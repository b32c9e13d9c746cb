#include "run/device.h"

#include <fmt/format.h>

#include "cpu/executor.h"
#include "cpu/kernels.h"
#include "device/emulated/queue.h"
#include "kernel/launch.h"
#include "reference/executor.h"

namespace assay::run {

Result<std::unique_ptr<op::Executor>> make_executor(const std::string& device,
                                                    const op::Program& program,
                                                    const op::ExecutorOptions& options) {
  const bool exact = options.contract == op::Contract::exact;
  if (device == "cpu" && exact)
    return Error{"the contract 'exact' is the reference's; the cpu has assay/1 and f32"};
  if (device == "cpu") return cpu::make_executor(program, options);
  if (device == "reference")
    return reference::make_executor(program, options,
                                    exact ? reference::Mode::exact : reference::Mode::contract);
  if (device == "emulated")
    return kernel_host::make_executor(device, emulated::make_queue({}), program, options);
  return Error{fmt::format("there is no device '{}'; there are: {}", device, device_names()),
               Exit::device};
}

std::string device_names() {
  return "cpu, emulated (a GPU's kernels on this machine's cores), reference (the f64 judge)";
}

std::vector<std::string> instruction_sets(std::string_view device) {
  std::vector<std::string> names;
  if (device != "cpu") return names;
  for (const char* name : {"portable", "avx2", "avx512"})
    if (cpu::find_kernels(name)) names.emplace_back(name);
  return names;
}

}  // namespace assay::run
