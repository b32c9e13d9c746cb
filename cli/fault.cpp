#include "fault.h"

#ifdef ASSAY_FAULTS

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <random>

#include "device/emulated/queue.h"
#include "fault/device_queue.h"
#include "fault/executor.h"
#include "gpu/executor.h"
#include "op/kinds.h"
#include "run/device.h"

using assay::Error;

void add_fault_flags(CLI::App& command, ModelFlags& flags) {
  command
      .add_option(
          "--fault", flags.fault,
          "run with a seeded fault: NAME, NAME:layer=3,PARAMETER=VALUE (src/fault/list.cpp); on "
          "a device with a queue also NAME of src/fault/device_queue.cpp, which goes first")
      ->type_name("FAULT");
  command
      .add_option(
          "--fault-seed", flags.fault_seed,
          "draw the fault's place and parameter, or for a queue's the emulated schedule, from this "
          "number")
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

using Made = assay::Result<std::unique_ptr<assay::op::Executor>>;

/// The fault by its text, or drawn by the seed.
assay::Result<assay::fault::Fault> find_fault(const ModelFlags& flags,
                                              const assay::op::Program& program) {
  auto found = flags.fault_seed ? assay::fault::draw(flags.fault, *flags.fault_seed, program)
                                : assay::fault::parse_fault(flags.fault);
  if (!found) return Error{"--fault: " + found.error().message};
  if (found->expected_operation(program).empty())
    return Error{"--fault: no operation of this model can have the fault '" + found->text() + "'"};
  fmt::print(stderr, "fault: {}\n", found->text());
  return found;
}

/// Plain loops in place of the operations that have the fault; with a device, all others are its own.
Made make_faulty(const ModelFlags& flags, const assay::op::Program& program,
                 const assay::op::ExecutorOptions& options) {
  const auto fault = find_fault(flags, program);
  if (!fault) return fault.error();
  if (flags.device == "cpu") return assay::fault::make_executor(program, options, *fault);
  auto queue = assay::run::make_queue(flags.device);
  if (!queue) return queue.error();
  auto over = std::make_unique<assay::fault::OverwritingQueue>(std::move(*queue));
  auto* const over_it = over.get();
  auto made = assay::gpu::make_executor(fmt::format("{} (fault {})", flags.device, fault->name),
                                        std::move(over), program, options);
  if (!made) return made.error();
  return assay::fault::make_executor(program, options, *fault, {std::move(*made), over_it});
}

assay::Status use_queue_fault(const ModelFlags& flags, assay::run::EngineOptions& options) {
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
  if (flags.device == "auto") return Error{"--fault needs the name of a device, not 'auto'"};
  if (flags.device == "reference" || options.executor.contract == assay::op::Contract::exact)
    return Error{
        "--fault takes the place of the cpu executor, under assay/1 or f32, or of a device's "
        "operations or queue"};
  if (flags.device != "cpu" && assay::fault::is_device_fault(flags.fault))
    return use_queue_fault(flags, options);
  options.make = [flags](const assay::op::Program& program,
                         const assay::op::ExecutorOptions& executor) {
    return make_faulty(flags, program, executor);
  };
  return assay::ok();
}

CLI::Option* add_fault_places_flag(CLI::App& command, std::optional<uint64_t>& seed) {
  return command
      .add_option("--faults", seed,
                  "only the seeded faults that the model can have, each at a place drawn from this "
                  "number, as JSON")
      ->type_name("N");
}

std::string fault_places(uint64_t seed, const assay::op::Program& program) {
  nlohmann::json all = nlohmann::json::array();
  for (const assay::fault::Fault& fault : assay::fault::everywhere(seed, program)) {
    const assay::fault::Needs needs = fault.needs();
    const std::string operation = fault.expected_operation(program);
    std::string_view kind;
    for (const assay::op::Operation& o : program.operations)
      if (o.name == operation) kind = assay::op::name_of(o);
    all.push_back({{"name", fault.name},
                   {"row", fault.row},
                   {"fault", fault.text()},
                   {"operation", operation},
                   {"kind", kind},
                   {"cause", fault.expected_cause()},
                   {"tokens", needs.tokens},
                   {"decode_steps", needs.decode_steps},
                   {"large_values", needs.large_values},
                   {"benign", fault.benign()}});
  }
  return all.dump(1);
}

#else

CLI::Option* add_fault_places_flag(CLI::App&, std::optional<uint64_t>&) {
  return nullptr;
}

std::string fault_places(uint64_t, const assay::op::Program&) {
  return {};
}

void add_fault_flags(CLI::App&, ModelFlags&) {}

assay::Status use_fault(const ModelFlags&, assay::run::EngineOptions&) {
  return assay::ok();
}

#endif
