#include "fault.h"

#ifdef ASSAY_FAULTS

#include <fmt/format.h>

#include "fault/executor.h"

using assay::Error;

void add_fault_flags(CLI::App& command, ModelFlags& flags) {
  command
      .add_option(
          "--fault", flags.fault,
          "run with a seeded fault: NAME, NAME:layer=3,PARAMETER=VALUE (src/fault/list.cpp)")
      ->type_name("FAULT");
  command
      .add_option("--fault-seed", flags.fault_seed,
                  "draw the fault's place and parameter from this number")
      ->type_name("N");
}

assay::Status use_fault(const ModelFlags& flags, assay::run::SessionOptions& options) {
  if (flags.fault.empty()) {
    if (flags.fault_seed) return Error{"--fault-seed needs --fault"};
    return assay::ok();
  }
  if (flags.device != "cpu" || options.executor.contract == assay::op::Contract::exact)
    return Error{"--fault takes the place of the cpu executor, under assay/1 or f32"};
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

assay::Status use_fault(const ModelFlags&, assay::run::SessionOptions&) {
  return assay::ok();
}

#endif
