#include "fault.h"

#ifdef ASSAY_FAULTS

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <random>

#include "device/emulated/queue.h"
#include "fault/device_queue.h"
#include "fault/executor.h"
#include "fault/state.h"
#include "gpu/executor.h"
#include "run/device.h"

using assay::Error;

void add_fault_flags(CLI::App& command, ModelFlags& flags) {
  command
      .add_option(
          "--fault", flags.fault,
          "run with a seeded fault: NAME, NAME:layer=3,PARAMETER=VALUE (src/fault/list.cpp); on "
          "a device with a queue: NAME (src/fault/device_queue.cpp); of an engine's state, on any "
          "device: NAME (src/fault/state.cpp)")
      ->type_name("FAULT");
  command
      .add_option(
          "--fault-seed", flags.fault_seed,
          "draw the fault's place and parameter, or the emulated schedule, from this number")
      ->type_name("N");
}

namespace {

/// The emulated grid's threads take turns by a seed, else one race would be like another.
assay::Result<std::unique_ptr<assay::device::Queue>> make_queue(const ModelFlags& flags) {
  if (flags.device != "emulated") return assay::run::make_queue(flags.device);
  using assay::emulated::Schedule;
  const uint64_t seed = flags.fault_seed ? *flags.fault_seed : std::random_device()();
  fmt::print(stderr, "schedule: --fault-seed {}\n", seed);
  assay::emulated::GridOptions grid;
  grid.schedule = {Schedule::Order::shuffled, seed};
  if (flags.fault_seed) grid.workers = 1;  // several share the groups out as they come
  return assay::emulated::make_queue({.grid = grid});
}

bool is_of_state(std::string_view name) {
  return std::ranges::find(assay::fault::state_faults(), name, &assay::fault::StateFault::name) !=
         assay::fault::state_faults().end();
}

/// Between the engine and the device's own executor.
void use_state_fault(const ModelFlags& flags, assay::run::EngineOptions& options) {
  fmt::print(stderr, "fault: {}\n", flags.fault);
  options.make = [fault = flags.fault, device = options.device](
                     const assay::op::Program& program, const assay::op::ExecutorOptions& executor)
      -> assay::Result<std::unique_ptr<assay::op::Executor>> {
    auto inner = assay::run::make_executor(device, program, executor);
    if (!inner) return inner.error();
    return assay::fault::make_faulty_state(std::move(*inner), program, executor, fault);
  };
}

assay::Status use_device_fault(const ModelFlags& flags, assay::run::EngineOptions& options) {
  if (flags.device == "auto") return Error{"--fault needs the name of a device, not 'auto'"};
  auto queue = make_queue(flags);
  if (!queue) return queue.error();
  auto faulty = assay::fault::make_faulty_queue(std::move(*queue), flags.fault);
  if (!faulty) return Error{"--fault: " + faulty.error().message};
  fmt::print(stderr, "fault: {}\n", flags.fault);
  // std::function wants what can be copied.
  options.make =
      [name = fmt::format("{} (fault {})", flags.device, flags.fault),
       held = std::make_shared<std::unique_ptr<assay::device::Queue>>(std::move(*faulty))](
          const assay::op::Program& program, const assay::op::ExecutorOptions& executor) {
        return assay::gpu::make_executor(name, std::move(*held), program, executor);
      };
  return assay::ok();
}

}  // namespace

assay::Status use_fault(const ModelFlags& flags, assay::run::EngineOptions& options) {
  if (flags.fault.empty()) {
    if (flags.fault_seed) return wrong_usage("--fault-seed needs --fault");
    return assay::ok();
  }
  if (is_of_state(flags.fault)) {
    if (flags.fault_seed) return Error{"a fault of an engine's state takes no --fault-seed"};
    use_state_fault(flags, options);
    return assay::ok();
  }
  if (flags.device != "cpu" && flags.device != "reference") return use_device_fault(flags, options);
  if (flags.device != "cpu" || options.executor.contract == assay::op::Contract::exact)
    return Error{
        "--fault takes the place of the cpu executor, under assay/1 or f32, or of a device's "
        "queue"};
  options.make = [fault = flags.fault, seed = flags.fault_seed](
                     const assay::op::Program& program, const assay::op::ExecutorOptions& executor)
      -> assay::Result<std::unique_ptr<assay::op::Executor>> {
    const auto found =
        seed ? assay::fault::draw(fault, *seed, program) : assay::fault::parse_fault(fault);
    if (!found) return Error{"--fault: " + found.error().message};
    fmt::print(stderr, "fault: {}\n", found->text());
    return assay::fault::make_executor(program, executor, *found);
  };
  return assay::ok();
}

#else

void add_fault_flags(CLI::App&, ModelFlags&) {}

assay::Status use_fault(const ModelFlags&, assay::run::EngineOptions&) {
  return assay::ok();
}

#endif
